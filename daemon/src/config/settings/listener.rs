//! Where clients and operators reach the daemon, and with which certificate.

use super::{Setting, secret, setting};
use crate::config::value::{NotAllowed, Value};
use crate::config::{ListenAddress, Secret};

const ADDRESSES: &str = "a list of IP addresses with a port, for example 127.0.0.1:4000 or [::1]:4000, or of unix: and the absolute \
                         path of a socket";
/// A year, what HSTS lists of browsers ask for.
const YEAR_S: u64 = 31_536_000;
/// Of a token that is tried over the network, as many bytes as of a shared secret.
const TOKEN_BYTES_MIN: usize = 32;

fn addresses(value: &Value) -> Result<Vec<ListenAddress>, NotAllowed> {
    let addresses: Vec<ListenAddress> =
        value.list()?.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
    if addresses.is_empty() { Err(NotAllowed) } else { Ok(addresses) }
}

/// In order.
pub(super) const SETTINGS: &[Setting] = &[
    setting("listen", "Addresses to listen on", ADDRESSES, |c, v| {
        c.listen = addresses(v)?;
        Ok(())
    }),
    setting(
        "listen_mode",
        "Who may use the Unix sockets, as the permissions of a file",
        "octal digits as a text, for example \"660\"",
        |c, v| {
            let mode = u32::from_str_radix(v.text()?.trim(), 8).map_err(|_| NotAllowed)?;
            c.listen_mode = if mode <= 0o777 { mode } else { return Err(NotAllowed) };
            Ok(())
        },
    ),
    setting(
        "tls.certificate",
        "PEM file with the certificate chain: with it, TCP means TLS",
        "the path of a PEM file",
        |c, v| {
            c.tls.certificate = Some(v.text()?.into());
            Ok(())
        },
    ),
    setting("tls.key", "PEM file with the private key", "the path of a PEM file", |c, v| {
        c.tls.key = Some(v.text()?.into());
        Ok(())
    }),
    setting(
        "tls.hsts_s",
        "How long browsers remember to come with TLS only; 0: they are not told",
        "0 to 63072000 seconds",
        put!(c.tls.hsts = v.seconds(0, 2 * YEAR_S)),
    ),
    setting(
        "admin.listen",
        "Addresses of the operators' pages, if not those of the endpoint",
        ADDRESSES,
        |c, v| {
            c.admin.listen = addresses(v)?;
            Ok(())
        },
    ),
    secret(setting(
        "admin.token",
        "What operators prove to be operators with",
        "at least 32 bytes without blanks, for example the output of `openssl rand -hex 32`",
        |c, v| {
            let text = v.text()?;
            if text.len() < TOKEN_BYTES_MIN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(NotAllowed);
            }
            c.admin.token = Some(Secret::new(text));
            Ok(())
        },
    )),
];
