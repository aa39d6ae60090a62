//! The mailbox by itself.

use bytes::Bytes;
use tidings_daemon::hub::mailbox::{Mailbox, MailboxLimits, SubscriptionId};

use super::Case;
use crate::room;

/// Deliveries that are taken at once.
const BURST: usize = 64;

pub(super) fn cases(cases: &mut Vec<Case>) {
    for burst in [1, BURST] {
        let name = if burst == 1 { "mailbox/push-and-take" } else { "mailbox/push-64-and-take" };
        cases.push(Case::new(name, "push", burst, move || {
            let mailbox = Mailbox::new(MailboxLimits::default());
            let (result, cursor) = (Bytes::from(vec![b' '; 150]), room::start().encode());
            let mut taken = Vec::new();
            let mut event = 0;
            Ok(Box::new(move || {
                for _ in 0..burst {
                    event += 1;
                    // What is taken at once always fits.
                    let _ = mailbox.push_next(SubscriptionId(0), &result, &cursor, event);
                }
                mailbox.take(&mut taken);
                taken.clear();
            }))
        }));
    }
}
