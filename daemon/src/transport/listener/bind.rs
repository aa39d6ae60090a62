//! Addresses made into listening sockets.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixSocket, UnixStream};

use crate::access::arrival::Peer;
use crate::config::ListenAddress;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// A socket that listens.
#[derive(Debug)]
pub enum Listening {
    /// At an IP address.
    Tcp(TcpListener),
    /// At a path.
    Unix(UnixListener, SocketFile),
}

/// A socket that was accepted.
#[derive(Debug)]
pub enum Accepted {
    /// By TCP.
    Tcp(TcpStream, Peer),
    /// By a Unix socket.
    Unix(UnixStream),
}

/// Why there is no listening at an address.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (setting `{setting}`): {reason}")]
pub struct BindError {
    address: ListenAddress,
    setting: &'static str,
    reason: io::Error,
}

impl Listening {
    /// Listens at an address, which a setting named. The file of a Unix socket gets these permissions.
    ///
    /// # Errors
    /// If the system refuses, or another process listens there.
    pub async fn bind(address: &ListenAddress, mode: u32, setting: &'static str) -> Result<Self, BindError> {
        let bound = match address {
            ListenAddress::Tcp(address) => TcpListener::bind(address).await.map(Self::Tcp),
            ListenAddress::Unix(path) => bind_unix(path, mode).await,
        };
        bound.map_err(|reason| BindError { address: address.clone(), setting, reason })
    }

    /// Where it listens; with the port that the system chose, if it was asked to.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn address(&self) -> io::Result<ListenAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(ListenAddress::Tcp),
            Self::Unix(_, file) => Ok(ListenAddress::Unix(file.path.clone())),
        }
    }

    /// The next client.
    ///
    /// # Errors
    /// If the system cannot accept one.
    pub async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = listener.accept().await?;
                // Results are small and must not wait for an acknowledgement. The socket works without, too.
                let _ = socket.set_nodelay(true);
                Ok(Accepted::Tcp(socket, Peer::Tcp(peer)))
            }
            Self::Unix(listener, _) => listener.accept().await.map(|(socket, _)| Accepted::Unix(socket)),
        }
    }
}

async fn bind_unix(path: &Path, mode: u32) -> io::Result<Listening> {
    let socket = match open_unix(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path).await?;
            open_unix(path)?
        }
        opened => opened?,
    };
    // Before it listens, so nobody can connect with other permissions.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    let file = SocketFile::of(path)?;
    Ok(Listening::Unix(socket.listen(BACKLOG)?, file))
}

fn open_unix(path: &Path) -> io::Result<UnixSocket> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    Ok(socket)
}

/// Removes the file that a process has left behind which did not end by itself.
async fn remove_stale(path: &Path) -> io::Result<()> {
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        let message = "there is a file that is no socket; remove it or choose another path";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    match UnixStream::connect(path).await {
        // Nobody listens.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        // Somebody does, though he may be too busy or not for us.
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
    }
}

/// The file of our socket; removed when dropped, unless it is another's by now.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn of(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), identity: identity(path)? })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // Whoever comes next removes what is left.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
