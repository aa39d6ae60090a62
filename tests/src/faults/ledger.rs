//! What clients received, reconciled with the table in SQL.

use tokio_postgres::Client;

use super::workload::{Change, TENANTS};
use crate::streaming::exactly_once::connect;

/// What clients were given, in the order in which they got it.
const SETUP: &str = "
    create schema ledger;
    create table ledger.delivered (account bigint, number bigint, row_id int, version bigint, stamp uuid);
    create index on ledger.delivered (account);
";

const RECORD: &str = "
    insert into ledger.delivered
    select $1, number, row_id, version, stamp::uuid
    from unnest($2::int[], $3::bigint[], $4::text[]) with ordinality as given (row_id, version, stamp, number)
";

/// Parameters: the account, its tenant, the ids of the events that it is to have (all if null).
const RECONCILE: &str = "
    with expected as (
        select (payload->>'stamp')::uuid as stamp
        from tidings.events
        where channel = 'public.counters' and event_type = 'UPDATE' and tenant_id = $2
          and ($3::bigint[] is null or id = any($3))
    ), delivered as (
        select row_id, version, stamp,
               version <= lag(version) over (partition by row_id order by number) as is_behind
        from ledger.delivered where account = $1
    )
    select (select count(*) from tidings.events),
           (select count(*) from expected),
           (select count(*) from delivered),
           (select count(*) from expected where stamp not in (select stamp from delivered)),
           (select count(*) - count(distinct stamp) from delivered),
           (select count(*) from delivered where stamp not in (select stamp from expected)),
           (select count(*) from delivered where is_behind)
";

const NOT_STORED: &str = "
    select count(*) from unnest($1::text[]) stamp
    where stamp::uuid not in (
        select (payload->>'stamp')::uuid from tidings.events where payload->>'stamp' is not null
    )
";

fn stamps(received: &[Change]) -> Vec<String> {
    received.iter().map(|change| format!("{:032x}", change.stamp)).collect()
}

/// The books of one database.
pub(super) struct Ledger {
    session: Client,
    accounts: i64,
}

/// Sums over the accounts of one ledger.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Totals {
    pub(super) expected: i64,
    pub(super) delivered: i64,
}

/// An event of the table.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) id: i64,
    pub(super) xid: u64,
    pub(super) stamp: Option<String>,
}

impl Ledger {
    pub(super) async fn open(url: &str) -> Self {
        let session = connect(url).await.unwrap();
        session.batch_execute(SETUP).await.unwrap();
        Self { session, accounts: 0 }
    }

    /// Prints the line of a client, and fails unless it got what it was to get, each once and each row's in order.
    pub(super) async fn reconcile(
        &mut self,
        name: &str,
        tenant: usize,
        received: &[Change],
        events: Option<&[i64]>,
        gaps: usize,
    ) -> Totals {
        self.accounts += 1;
        let rows: Vec<i32> = received.iter().map(|change| change.row).collect();
        let versions: Vec<i64> = received.iter().map(|change| change.version).collect();
        let stamps = stamps(received);
        self.session.execute(RECORD, &[&self.accounts, &rows, &versions, &stamps]).await.unwrap();
        let line =
            self.session.query_one(RECONCILE, &[&self.accounts, &TENANTS[tenant], &events]).await.unwrap();
        let count = |column| line.get::<_, i64>(column);
        let (missing, duplicate, foreign, disordered) = (count(3), count(4), count(5), count(6));
        let totals = Totals { expected: count(1), delivered: count(2) };
        println!(
            "{name}: {} events, {} deliveries expected, {} delivered, {missing} missing, {duplicate} duplicate, \
             {foreign} foreign, {disordered} out of order, {gaps} declared gaps",
            count(0),
            totals.expected,
            totals.delivered,
        );
        assert_eq!((missing, duplicate, foreign, disordered), (0, 0, 0, 0), "{name}");
        totals
    }

    pub(super) async fn events(&self) -> Vec<Stored> {
        let query = "select id, xid::text, payload->>'stamp' from tidings.events";
        let rows = self.session.query(query, &[]).await.unwrap();
        let stored = rows.iter().map(|row| Stored {
            id: row.get(0),
            xid: row.get::<_, &str>(1).parse().unwrap(),
            stamp: row.get(2),
        });
        stored.collect()
    }

    /// How many of the changes that clients got are not stored here.
    pub(super) async fn not_stored(&self, received: &[Change]) -> i64 {
        self.session.query_one(NOT_STORED, &[&stamps(received)]).await.unwrap().get(0)
    }
}
