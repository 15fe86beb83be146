//! Numbers, tables and text as people read them; the tool shows everything with these.

pub mod measure;
pub mod table;
pub mod text;
