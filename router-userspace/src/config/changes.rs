//! What differs between two configurations, and what takes it: a reload, an upgrade, or a restart.

use super::{
    Config, TakenBy,
    keys::{ROOT, Table},
};

/// A table, or a key of one, that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    name: &'static str,
    taken_by: TakenBy,
    told: String,
}

impl Changed {
    /// The table's or the key's dotted name: `limits`, `router.engine`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What brings the change into force.
    pub fn taken_by(&self) -> TakenBy {
        self.taken_by
    }

    /// The change in a sentence: `limits have changed`.
    pub fn told(&self) -> &str {
        &self.told
    }
}

/// What differs, by the definitions of the keys: first tables that are compared as one, then keys of
/// the others, each in the order of the file.
pub fn changes(before: &Config, after: &Config) -> Vec<Changed> {
    let mut tables = Vec::new();
    let mut keys = Vec::new();
    for table in ROOT.all() {
        match &table.whole {
            Some(whole) if (whole.differs)(before, after) => tables.push(Changed {
                name: table.name,
                taken_by: strongest(table, before, after),
                told: whole.told.to_owned(),
            }),
            Some(_) => {}
            None => keys.extend(changed_keys(table, before, after)),
        }
    }
    tables.append(&mut keys);
    tables
}

fn changed_keys(table: &'static Table, before: &Config, after: &Config) -> impl Iterator<Item = Changed> {
    table.keys.iter().filter_map(move |key| {
        let compared = key.compared()?;
        let taken_by = compared.change(before, after)?;
        let told = compared.told().map_or_else(|| format!("{} has changed", key.short()), str::to_owned);
        Some(Changed { name: key.name(), taken_by, told })
    })
}

/// What takes the change of a table that is compared as one: the strongest of what its keys ask for. A key
/// that is compared by itself counts only if it is one of those that differ; any of the others may be.
fn strongest(table: &'static Table, before: &Config, after: &Config) -> TakenBy {
    let asked = table.keys.iter().filter_map(|key| match key.compared() {
        Some(compared) => compared.change(before, after),
        None => Some(key.taken_by()),
    });
    asked.max().unwrap_or(TakenBy::Reload)
}
