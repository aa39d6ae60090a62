//! The extension in a real server.

mod arguments;
mod capture;
mod coalesced;
mod definitions;
mod dump;
mod follow;
mod hostile_definitions;
mod installation;
mod order;
mod partitions;
mod policies;
mod privileges;
mod publish;
mod rendering;
mod retention;
mod settings;
mod statements;
mod statements_together;
mod truncate;
mod wake_up;
