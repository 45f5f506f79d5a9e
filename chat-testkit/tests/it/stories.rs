//! Stories: what users of an engine are promised, told from their side of the wire.

mod absence;
mod across;
mod bad_frames;
mod bad_input;
mod budgets;
mod chatting;
mod devices;
mod ghosts;
mod hooks;
mod host;
mod house;
mod in_between;
mod late_ends;
mod lists;
mod memory_loss;
mod reading;
mod removal;
mod rights;
mod rules;
mod say;
mod sharing;
mod signals;
mod tokens;
mod trouble;
mod two_nodes;
mod unread;
