//! A batch too large for one statement, read in pages with both snapshots fixed.
//!
//! A page is a range of ids, so that it costs the same wherever in the backlog it lies, and no
//! statement runs for long: retention and the notification queue wait for none of them.

use std::pin::pin;
use std::sync::Arc;

use futures_util::TryStreamExt;
use tokio_postgres::types::ToSql;

use super::PostgresOptions;
use super::error::{SessionError, in_time};
use super::poll::{BOUNDS, Page, Poller, Xid, event_of, running};
use crate::source::Batch;
use crate::source::cursor::{Cursor, Within};
use crate::source::snapshot::Snapshot;

/// The rest of a batch.
#[derive(Debug)]
pub(super) struct Backlog {
    /// What had been seen before the batch.
    before: Cursor,
    /// The snapshot that the batch leads to.
    snapshot: Arc<Snapshot>,
    /// Every id up to here has been handed over.
    upto: i64,
    /// The last id of the batch.
    end: i64,
}

impl Backlog {
    /// Finds where the backlog between what was seen and a snapshot lies.
    pub(super) async fn begin(
        poller: &Poller,
        before: Cursor,
        snapshot: Arc<Snapshot>,
    ) -> Result<Self, SessionError> {
        let (xmax, running) = (Xid(before.seen.xmax()), running(&before));
        let text = snapshot.to_string();
        let parameters: [&(dyn ToSql + Sync); 4] = [&xmax, &running, &before.top, &text];
        let row = in_time(async {
            poller.plan_once(false).await?;
            poller.client.query_one(BOUNDS, &parameters).await.map_err(SessionError::Query)
        })
        .await?;
        let first: Option<i64> = row.get(0);
        // Retention may have emptied its slots since the poll; the page's statement tells.
        let end = row.get::<_, Option<i64>>(1).unwrap_or(before.top);
        let upto = first.map_or(end, |first| first - 1);
        tracing::info!(ids = end - upto, "a backlog is read in pages");
        Ok(Self { before, snapshot, upto, end })
    }

    /// The next page; the last one says so.
    pub(super) async fn next_page(
        &mut self,
        poller: &Poller,
        options: &PostgresOptions,
    ) -> Result<Batch, SessionError> {
        let upto = self.end.min(self.upto.saturating_add(options.page_events as i64));
        let (xmax, running) = (Xid(self.before.seen.xmax()), running(&self.before));
        let text = self.snapshot.to_string();
        let (events, reached) = in_time(async {
            let parameters: [&(dyn ToSql + Sync); 6] =
                [&xmax, &running, &self.before.top, &text, &self.upto, &upto];
            let mut rows = pin!(poller.query(&poller.page, &parameters).await?);
            poller.head(&mut rows, &self.handed_over()).await?;
            let mut page = Page::default();
            while let Some(row) = rows.try_next().await.map_err(SessionError::Query)? {
                let event = event_of(&row)?;
                let id = event.id;
                page.push(event);
                if page.bytes > options.page_bytes {
                    return Ok((page.events, id));
                }
            }
            Ok((page.events, upto))
        })
        .await?;
        let batch = Batch {
            events,
            start: self.handed_over(),
            snapshot: self.snapshot.clone(),
            last: reached >= self.end,
        };
        self.upto = reached;
        Ok(batch)
    }

    /// What has been seen so far.
    fn handed_over(&self) -> Cursor {
        let within = Within { snapshot: self.snapshot.clone(), upto: self.upto };
        Cursor { within: Some(within), ..self.before.clone() }
    }
}
