//! The command line: what can be asked, one file a verb.
//!
//! The rule this room keeps: verbs that ask an agent know its control socket and nothing of what
//! runs behind it. Help texts, man pages and completions all come from the definition in
//! `command_line.rs`.

mod admission;
mod block;
mod capture;
mod check;
mod cid;
mod client;
mod cluster;
mod command_line;
mod completions;
mod counters;
mod detach;
mod doctor;
mod explain;
mod fail;
mod flows;
mod log;
mod man;
mod nodes;
mod options;
mod output;
mod reload;
mod run;
#[cfg(test)]
mod snapshots;
mod status;
mod upgrade;
mod version;
mod watch;
mod workers;

pub use self::command_line::main;
