//! Route, project, deliver: from a batch of events to the mailboxes of those who may see them.
//!
//! Pure apart from its locks, which are never held across an await: no I/O but by outlets that it is lent, no clock,
//! no SQL, no transport.

mod table;

pub mod audience;

pub mod equality;

pub mod project;

pub mod promise;

pub mod initial;

mod delivery;

mod later;

pub mod mailbox;

mod entry;

pub mod outlet;

pub mod by_subscription;

pub mod subscribed;

mod crowd;

pub mod route;

mod deliver;

pub mod dispatch;

mod subscribe;

mod behind;

pub mod replay;

#[cfg(test)]
mod tests;
