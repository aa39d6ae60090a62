//! What criterion leaves to others: instructions, the table of all, the tail, and memory. One program, since each
//! that is linked takes minutes.

mod count;

mod footprint;

mod report;

mod tail;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Prints the cases: name, unit, units of a call.
    Cases,
    /// Does the work of a case, for callgrind.
    Count(count::Arguments),
    /// Puts what criterion and callgrind measured into one table.
    Report(report::Arguments),
    /// What a subscription takes in memory.
    Footprint(footprint::Arguments),
    /// From the table into the hub.
    #[command(subcommand)]
    Tail(tail::What),
}

fn main() -> Result<()> {
    match Arguments::parse().what {
        What::Cases => {
            for case in tidings_micro::all() {
                println!("{}\t{}\t{}", case.name, case.unit, case.units);
            }
            Ok(())
        }
        What::Count(arguments) => count::run(&arguments),
        What::Report(arguments) => report::run(&arguments),
        What::Footprint(arguments) => footprint::run(&arguments),
        What::Tail(what) => tail::run(&what),
    }
}
