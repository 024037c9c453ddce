//! The engine: decides the order, keeps the state, answers. It knows data types and nothing of kinds, sockets or dialects.
//!
//! The contract is in [`contract`]; [`embedded`] is the engine inside the process. What every engine promises:
//!
//! 1. Per channel and core, outcomes and publications arrive in revision order. An answer at position P comes after the
//!    publication that covers P, and before the publication that begins beyond P.
//! 2. A publication is posted to all cores that are attached before the outcome is posted to the asker.
//! 3. On a durable channel every answer waits for the batch it was decided in; what is not durable never waits.
//! 4. A batch is known by its sender and number: one that is sent twice counts once.
//! 5. `commit` channels keep their epoch over a restart; `memory` channels take a new one.
//! 6. Nobody waits for a full mailbox: the sender keeps the batch; a core whose inbox overflows re-attaches its mirrors.

mod channel;
pub mod contract;
pub mod editing;
pub mod embedded;
pub mod history;
mod hold;
pub mod log;
pub mod map;
pub mod members;
pub mod presence;
pub mod table;
pub mod tally;

pub use contract::*;
pub use table::{
    CellName, CellSet, CellValue, Column, RowId, RowPlace, RowRef, Stale, Table, TableAct, TableChange, TableSpec,
};
