//! Field compression (RFC 9204), without a dynamic table in either direction: what it saves on small messages is
//! less than what head-of-line blocking and its state per connection cost a router.

pub(crate) mod decoder;
pub(crate) mod encoder;
mod huffman;
pub(crate) mod instructions;
mod integer;
pub(crate) mod static_table;
