//! Who may do what, written down once more: cases of every command, what is held by whom, and a table of what each
//! command needs, which shares nothing with what the server decides by.

pub mod cases;
pub mod held;
pub mod table;
