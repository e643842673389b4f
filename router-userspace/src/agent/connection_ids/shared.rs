//! The configurations of connection IDs that all nodes of a cluster have, and those in the key store.
//!
//! An era is younger the later it is issued: retiring ones come first, then the issued one, then those that are only
//! announced.

use std::cmp::Reverse;

use router_cluster::membership::{CidConfiguration, CidShape, ClusterState};

use super::{
    error::CidError,
    key_store::{ConfigSpec, KeyStore, Pages, StoredConfig},
};

/// The cluster's configurations in the order of their eras.
pub(super) fn in_order(state: &ClusterState) -> Vec<&CidConfiguration> {
    let mut all: Vec<_> = state.cid.values().collect();
    all.sort_by_key(|shared| (Reverse(shared.state), shared.announced));
    all
}

/// Refuses a configuration whose connection IDs have another length: no node could read the other's.
///
/// # Errors
/// If they have.
pub(super) fn fits(shared: &CidConfiguration, shape: &ConfigSpec) -> Result<(), CidError> {
    match shared.shape {
        Some(CidShape { length, .. }) if length != shape.length => {
            Err(CidError::OtherLength { own: shape.length, cluster: length })
        }
        _ => Ok(()),
    }
}

/// Sees to it that the key store has the cluster's configurations, issues by the right one, and has none that is in their
/// way. No connection is there yet.
///
/// # Errors
/// If the cluster has none to issue by, or one of another length, or the store cannot be written.
pub(super) fn prepare(book: &KeyStore, shape: &ConfigSpec, state: &ClusterState) -> Result<(), CidError> {
    let issuing = state.issuing().ok_or(CidError::ClusterIssuesNone)?;
    let wanted = in_order(state);
    wanted.iter().try_for_each(|shared| fits(shared, shape))?;
    if is_ready(&book.pages(), shape, &wanted, issuing) {
        return Ok(());
    }
    Ok(book.change(|pages| {
        let is_in_the_way = |page: &StoredConfig| {
            let has_its_rotation = |shared: &&CidConfiguration| shared.rotation == page.rotation();
            let other = wanted.iter().any(|shared| has_its_rotation(shared) && !page.is_shared(shared));
            other || !page.is_of_cluster() || page.shape.length != shape.length
        };
        pages.forget(is_in_the_way);
        for shared in &wanted {
            let era = pages.next_era();
            let found = pages.configurations.iter().position(|page| page.is_shared(shared));
            // One that is there keeps count of its nonces.
            let page = match found.map(|at| pages.configurations.remove(at)) {
                Some(page) => page.moved(era, shared, shape),
                None => StoredConfig::of_cluster(shared, era, shape.clone()),
            };
            pages.announce(page);
            if *shared == issuing {
                pages.issue(era);
            }
        }
    })?)
}

/// Whether the store is as it should be.
fn is_ready(pages: &Pages, shape: &ConfigSpec, wanted: &[&CidConfiguration], issuing: &CidConfiguration) -> bool {
    let fits = |page: &&StoredConfig, shared: &CidConfiguration| page.is_shared(shared) && page.shape == *shape;
    let found: Vec<_> = wanted
        .iter()
        .map(|shared| pages.configurations.iter().find(|page| fits(page, shared)).map(StoredConfig::era))
        .collect();
    found.iter().all(Option::is_some)
        && found.is_sorted()
        && pages.configurations.iter().all(StoredConfig::is_of_cluster)
        && pages.issuing().is_some_and(|page| page.is_shared(issuing))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::PathBuf};

    use router_cluster::membership::{CidSecrets, CidState};
    use router_common::identifiers::{ConfigRotation, EraId, SlotId};

    use super::{
        super::key_store::{KeyFrom, StoredIdentity},
        *,
    };
    use crate::{
        agent::{error::RoomError as _, state_dir::State},
        worker::Ledger as _,
    };

    /// A configuration by its number, with secrets that no other has.
    fn shared(number: u8, state: CidState) -> CidConfiguration {
        CidConfiguration {
            rotation: ConfigRotation::new((number - 1) % 7),
            state,
            announced: number.into(),
            since: 0,
            entered: number.into(),
            shape: None,
            awaited: BTreeSet::new(),
            secrets: CidSecrets::from([number; 36]),
        }
    }

    fn cluster(numbers: &[(u8, CidState)]) -> ClusterState {
        let cid = numbers.iter().map(|&(number, state)| shared(number, state)).map(|shared| (shared.rotation, shared));
        ClusterState { cid: cid.collect(), ..ClusterState::default() }
    }

    fn shape(node: u16) -> ConfigSpec {
        let identity = StoredIdentity::NodeId(node);
        ConfigSpec { length: 17, describes_length: true, identity, key_from: KeyFrom::Auto }
    }

    struct Store {
        book: KeyStore,
        path: PathBuf,
        _state: State,
    }

    impl Store {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("quic-router-shared-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            let state = State::take(&path).unwrap();
            Self { book: KeyStore::open(&state).unwrap(), path, _state: state }
        }

        /// Number and rotation of what is there, in the order of the eras; and what is issued.
        fn numbers(&self) -> (Vec<u8>, u8) {
            let pages = self.book.pages();
            let mut all: Vec<_> = pages.configurations.iter().collect();
            all.sort_by_key(|page| page.era());
            (all.iter().map(|page| page.salt()[0]).collect(), pages.issuing().unwrap().salt()[0])
        }
    }

    impl Drop for Store {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.path);
        }
    }

    #[test]
    fn the_store_follows_the_list() {
        use CidState::{Announced, Issuing, Retiring};
        let store = Store::new("follows");
        store
            .book
            .change(|pages| {
                let own = StoredConfig::new(ConfigRotation::new(1), EraId::new(1), shape(1), Some(&[9; 16]));
                pages.announce(own);
                pages.issue(EraId::new(1));
            })
            .unwrap();
        for (list, expected) in [
            (&[(1, Issuing)][..], (vec![1], 1)),
            (&[(1, Issuing), (2, Announced)], (vec![1, 2], 1)),
            (&[(1, Retiring), (2, Issuing)], (vec![1, 2], 2)),
            // Taken back: what is issued is the youngest of those that were.
            (&[(1, Issuing), (2, Announced), (3, Announced)], (vec![1, 2, 3], 1)),
            (&[(7, Retiring), (8, Issuing)], (vec![2, 3, 7, 8], 8)),
        ] {
            prepare(&store.book, &shape(1), &cluster(list)).unwrap();
            assert_eq!(store.numbers(), expected, "{list:?}");
            let before = fs::metadata(store.path.join("connection-ids.json")).unwrap().modified().unwrap();
            prepare(&store.book, &shape(1), &cluster(list)).unwrap();
            let after = fs::metadata(store.path.join("connection-ids.json")).unwrap().modified().unwrap();
            assert_eq!(before, after, "{list:?}: nothing was to be changed");
        }
        let error = prepare(&store.book, &shape(1), &cluster(&[(1, Announced)])).unwrap_err();
        assert!(matches!(error, CidError::ClusterIssuesNone));
    }

    #[test]
    fn another_length_is_refused_and_both_are_named() {
        let store = Store::new("length");
        let of = |length| {
            let mut state = cluster(&[(1, CidState::Issuing)]);
            let form = CidShape { length, describes_length: false };
            state.cid.values_mut().for_each(|shared| shared.shape = Some(form));
            prepare(&store.book, &shape(1), &state)
        };
        let error = of(20).unwrap_err();
        let text = "connection_id.length is 17 here, and the cluster's connection IDs have 20 octets: nodes cannot read each \
                    other's";
        assert_eq!(error.to_string(), text);
        assert!(error.hint().unwrap().starts_with("connection_id.length = 20"), "{error:?}");
        assert!(store.book.pages().configurations.is_empty(), "nothing has changed");
        of(17).unwrap();
    }

    /// The key is the same wherever the store was lost, so the nonces must not begin where they began before.
    #[test]
    fn nonces_begin_elsewhere_in_each_store_and_go_on_in_one() {
        let list = cluster(&[(1, CidState::Issuing)]);
        let issuing = |store: &Store| store.book.pages().issuing().unwrap().clone();
        let starts: BTreeSet<_> = ["one", "two", "three"]
            .map(|name| {
                let store = Store::new(name);
                prepare(&store.book, &shape(1), &list).unwrap();
                let page = issuing(&store);
                assert_eq!((*page.key(), page.salt()), ([1; 16], [1; 20]));
                page.nonces_from()
            })
            .into();
        assert_eq!(starts.len(), 3);
        let store = Store::new("goes on");
        prepare(&store.book, &shape(1), &list).unwrap();
        let before = issuing(&store);
        store.book.lease(before.era(), SlotId::new(3), 4_096).unwrap();
        let described = ConfigSpec { describes_length: false, ..shape(1) };
        prepare(&store.book, &described, &cluster(&[(1, CidState::Issuing), (2, CidState::Announced)])).unwrap();
        let after = issuing(&store);
        assert_eq!((after.nonces_from(), &after.shape), (before.nonces_from(), &described));
        assert_eq!(after.leased().collect::<Vec<_>>(), [(SlotId::new(3), 4_096)]);
    }
}
