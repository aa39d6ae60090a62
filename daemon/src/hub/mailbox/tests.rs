//! The bounds of a mailbox, and its outlet.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt;
use parking_lot::Mutex;

use super::{Delivery, EndReason, Full, Mailbox, MailboxLimits, Outlet, SubscriptionId};

#[tokio::test]
async fn overflow_is_refused_and_the_end_still_fits() {
    let mailbox = Mailbox::new(MailboxLimits { messages: 2, bytes: 10 });
    let (id, cursor, result) = (SubscriptionId(1), "c".into(), Bytes::from_static(b"1234"));
    assert_eq!(mailbox.push_next(id, &result, &cursor, 1), Ok(false));
    assert_eq!(mailbox.push_next(id, &Bytes::from_static(b"1234567"), &cursor, 2), Err(Full), "bytes");
    assert_eq!(mailbox.push_next(id, &result, &cursor, 2), Ok(false));
    assert_eq!(mailbox.push_next(id, &Bytes::new(), &cursor, 3), Err(Full), "messages");
    mailbox.push_end(id, EndReason::SlowConsumer, &cursor);
    let mut got = Vec::new();
    mailbox.drain(&mut got, false).await;
    assert_eq!(got.len(), 3);
    assert!(matches!(got[2], Delivery::End { reason: EndReason::SlowConsumer, .. }));
    assert_eq!(
        mailbox.push_next(id, &Bytes::from(vec![b' '; 99]), &cursor, 4),
        Ok(false),
        "alone it may be large"
    );
}

/// Takes some bytes, and no more until it is told to.
#[derive(Debug, Default)]
struct Socket {
    written: Mutex<Vec<u64>>,
    is_full: AtomicBool,
}

impl Outlet for Socket {
    fn write(&self, results: &[Delivery]) -> Vec<u8> {
        let numbers = results.iter().map(|delivery| match delivery {
            Delivery::Next { result, .. } => u64::from(result[0]),
            other => panic!("{other:?} is not a result"),
        });
        if self.is_full.load(Ordering::Relaxed) {
            return numbers.map(|number| number as u8).collect();
        }
        self.written.lock().extend(numbers);
        Vec::new()
    }
}

/// A mailbox, its socket, and a reader that waits and has lent it.
fn lent() -> (Mailbox, Arc<Socket>, Vec<Delivery>) {
    let (mailbox, socket) = (Mailbox::new(MailboxLimits::default()), Arc::new(Socket::default()));
    mailbox.set_outlet(socket.clone());
    let mut read = Vec::new();
    assert!(mailbox.drain(&mut read, true).now_or_never().is_none());
    (mailbox, socket, read)
}

fn push(mailbox: &Mailbox, number: u8) -> bool {
    let result = Bytes::from(vec![number]);
    mailbox.push_next(SubscriptionId(1), &result, &"c".into(), number.into()).unwrap()
}

fn write(mailbox: &Mailbox) -> usize {
    mailbox.write_by_outlet(Instant::now(), &mut Vec::new())
}

#[test]
fn what_comes_while_the_outlet_is_lent_is_due_once_and_written_in_order() {
    let (mailbox, socket, mut read) = lent();
    assert_eq!([1, 2, 3].map(|number| push(&mailbox, number)), [true, false, false]);
    assert_eq!(write(&mailbox), 3);
    assert!(push(&mailbox, 4));
    assert_eq!((write(&mailbox), write(&mailbox)), (1, 0));
    assert_eq!(*socket.written.lock(), [1, 2, 3, 4]);
    assert!(mailbox.take_back().written.is_some());
    assert!(!push(&mailbox, 5), "it is the reader's now");
    assert_eq!(write(&mailbox), 0);
    mailbox.take(&mut read);
    assert_eq!(read.len(), 1);
}

#[test]
fn nothing_is_written_past_what_the_reader_has_taken() {
    for takes in [true, false] {
        let (mailbox, socket, mut read) = lent();
        assert!(push(&mailbox, 1));
        // It wakes for another reason, and finds what is due.
        if takes {
            mailbox.take(&mut read);
        } else {
            assert!(mailbox.drain(&mut read, true).now_or_never().is_some());
        }
        assert_eq!(read.len(), 1);
        assert!(!push(&mailbox, 2));
        assert_eq!(write(&mailbox), 0);
        assert!(socket.written.lock().is_empty());
    }
}

#[test]
fn what_the_socket_does_not_take_is_for_the_reader_to_write_first() {
    let (mailbox, socket, mut read) = lent();
    socket.is_full.store(true, Ordering::Relaxed);
    assert!(push(&mailbox, 1));
    assert_eq!(write(&mailbox), 1);
    assert!(!push(&mailbox, 2), "nothing is written past what is left");
    assert!(mailbox.drain(&mut read, true).now_or_never().is_some());
    assert!(read.is_empty(), "what is left comes first");
    assert_eq!(mailbox.take_back().rest, [1]);
    assert!(mailbox.drain(&mut read, true).now_or_never().is_some());
    assert_eq!(read.len(), 1);
    assert!(socket.written.lock().is_empty());
}

#[test]
fn a_connection_that_has_ended_keeps_no_socket_open() {
    let (mailbox, socket, _) = lent();
    assert!(push(&mailbox, 1));
    mailbox.drop_outlet();
    assert_eq!(Arc::strong_count(&socket), 1);
    assert_eq!(write(&mailbox), 0);
    assert!(!push(&mailbox, 2));
}

#[test]
fn an_end_is_the_readers_and_so_is_all_that_waits_with_it() {
    let (mailbox, socket, mut read) = lent();
    assert!(push(&mailbox, 1));
    mailbox.push_end(SubscriptionId(1), EndReason::SlowConsumer, &"c".into());
    assert_eq!(write(&mailbox), 0);
    assert!(mailbox.drain(&mut read, true).now_or_never().is_some());
    assert_eq!(read.len(), 2);
    assert!(socket.written.lock().is_empty());
}

#[test]
fn quiet_means_nothing_later_was_pushed() {
    let mailbox = Mailbox::new(MailboxLimits::default());
    assert!(mailbox.is_quiet_since(0));
    mailbox.push_next(SubscriptionId(1), &Bytes::new(), &"c".into(), 7).unwrap();
    assert!(!mailbox.is_quiet_since(7), "not read yet");
}
