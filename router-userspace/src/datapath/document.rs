//! docs/maps.md is made of the contract, as far as that grows: the schema's number and the fields of `counters`.
//! `tests/tests/maps_documented.rs` holds the other tables against what bpftool shows.

use std::iter;

use router_common::{maps::SCHEMA, reason::Reason};

use crate::blessed;

#[test]
fn its_counters_are_made_of_the_reasons() {
    blessed::document("maps.md", |document| {
        let (before, rest) = document.split_once(NUMBER).expect("the document has its number");
        let (_, after) = rest.split_once("**").expect("the number ends");
        let document = format!("{before}{NUMBER}{SCHEMA}**{after}");
        let mut tables = 0;
        let made = blessed::with_rows(&document, "| field | fate |", |_, _| {
            tables += 1;
            iter::once(RECEIVED.to_owned()).chain(Reason::ALL.iter().map(|&reason| row(reason))).collect()
        });
        assert_eq!(tables, 1, "tables of reasons");
        made
    });
}

fn row(reason: Reason) -> String {
    format!("| `{}` | {} | {} |", reason.name(), reason.fate().name(), reason.explanation())
}

const NUMBER: &str = "`settings.schema` is the version of this document: **";
const RECEIVED: &str = "| `received` | | Packets that entered the stage. |";
