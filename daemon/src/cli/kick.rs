//! `tidings kick`: has somebody leave, on every node, through the database.

use std::time::Duration;

use clap::{Arg, ArgGroup, ArgMatches, Command, value_parser};

use super::{Failure, service};
use crate::access::presence::ConnectionId;
use crate::config::Config;
use crate::store::revocations::{self, Order};

const BLOCK_S_DEFAULT: &str = "2592000";

/// Who can be named, and what for.
pub(super) fn arguments(command: Command) -> Command {
    let text =
        |name: &'static str, help: &'static str| Arg::new(name).long(name).value_name("TEXT").help(help);
    command
        .arg(text("user", "User whose connections end; with --tenant, of that tenant only"))
        .arg(text("tenant", "Tenant whose users' connections end"))
        .arg(
            Arg::new("connection")
                .long("connection")
                .value_name("ID")
                .value_parser(value_parser!(ConnectionId))
                .conflicts_with_all(["user", "tenant", "block"])
                .help("The one connection that ends, as tidings.active_connections and the log name it"),
        )
        .arg(
            Arg::new("block")
                .long("block")
                .value_name("SECONDS")
                .value_parser(value_parser!(u64).range(0..=315_360_000))
                .default_value(BLOCK_S_DEFAULT)
                .help(
                    "For how long tokens from before are refused: not less than they live. 0: they stay good",
                ),
        )
        .arg(
            Arg::new("lift")
                .long("lift")
                .value_name("NUMBER")
                .value_parser(value_parser!(i64))
                .conflicts_with_all(["user", "tenant", "connection", "block"])
                .help("Takes a kick back: tokens from before are good again"),
        )
        .group(
            ArgGroup::new("who").args(["user", "tenant", "connection", "lift"]).multiple(true).required(true),
        )
}

pub(super) fn run(config: &Config, matches: &ArgMatches) -> Result<(), Failure> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let database = service::postgres(config)?.database;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Some(number) = matches.get_one::<i64>("lift") {
        if !runtime.block_on(revocations::lift(&database, *number))? {
            return Err(format!("no kick of number {number} is in force").into());
        }
        println!("kick {number} is lifted");
        return Ok(());
    }
    let block = matches.get_one::<u64>("block").copied().unwrap_or_default();
    let order = Order {
        user: text("user"),
        tenant: text("tenant"),
        connection: matches.get_one::<ConnectionId>("connection").copied(),
        block: Duration::from_secs(block),
    };
    let number = runtime.block_on(revocations::kick(&database, &order))?;
    if order.connection.is_some() || block == 0 {
        println!("kick {number}: whoever is meant leaves within a second, and may come again");
    } else {
        println!(
            "kick {number}: whoever is meant leaves within a second; tokens from before now are refused for {block} s \
             (tidings kick --lift {number} takes that back)"
        );
    }
    Ok(())
}
