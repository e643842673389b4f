use std::{os::unix::fs::PermissionsExt as _, path::PathBuf};

use super::*;
use crate::{
    membership::{
        CidShape, ClusterState, rotation,
        store::{Codec, Operation, commit},
    },
    secret::ClusterSecret,
};

fn codec(secret: u8) -> Codec {
    Codec::new("edge", &ClusterSecret::from([secret; 32]))
}

fn known() -> Known {
    let shape = CidShape { length: 17, describes_length: true };
    let made = commit(&codec(7), &Entries::new(), &ClusterState::default(), &rotation::make(shape, 1)).unwrap();
    let puts = made.operations.into_iter().filter_map(|operation| match operation {
        Operation::Put { name, value } => Some((name, Entry { value, modified: 5 })),
        _ => None,
    });
    let mut known = Known::new(codec(7));
    known.replace(Range { entries: puts.collect(), revision: 5 }, Instant::now()).unwrap();
    known.confirmed = UNIX_EPOCH.checked_add(Duration::from_secs(1_700_000_000));
    known
}

struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("quic-router-snapshot-{}-{name}", std::process::id())))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn what_was_known_is_known_again() {
    let file = Temporary::new("again");
    let before = known();
    write(&file.0, &before).unwrap();
    assert_eq!(fs::metadata(&file.0).unwrap().permissions().mode() & 0o777, 0o600);
    let mut after = Known::new(codec(7));
    assert_eq!(read(&file.0, &mut after), Ok(true));
    assert_eq!((&after.state, &after.entries, &after.seen), (&before.state, &before.entries, &before.seen));
    assert_eq!((after.version, after.confirmed), (5, before.confirmed));
    // It is as sealed as in the store.
    let text = fs::read_to_string(&file.0).unwrap();
    let master = before.state.master.unwrap();
    let hex: String = master.octets().iter().map(|octet| format!("{octet:02x}")).collect();
    assert!(text.contains("issuing") && !text.contains(&hex));
    let mut other = Known::new(codec(8));
    assert!(read(&file.0, &mut other).unwrap_err().contains("not sealed under this node's cluster secret"));
}

#[test]
fn what_is_no_snapshot_names_the_file() {
    let file = Temporary::new("none");
    assert_eq!(read(&file.0, &mut Known::new(codec(7))), Ok(false));
    for text in ["", "{", "{\"version\":1}"] {
        fs::write(&file.0, text).unwrap();
        let why = read(&file.0, &mut Known::new(codec(7))).unwrap_err();
        assert!(why.contains("quic-router-snapshot-") && why.contains("made anew"), "{why}");
    }
    write(&file.0, &known()).unwrap();
    let text = fs::read_to_string(&file.0).unwrap().replace("\"version\":1", "\"version\":2");
    fs::write(&file.0, text).unwrap();
    let why = read(&file.0, &mut Known::new(codec(7))).unwrap_err();
    assert!(why.contains("of version 2, and this program knows 1"), "{why}");
    assert!(write(&PathBuf::from("/nonexistent/snapshot"), &known()).is_err());
}
