//! The list itself: what is named, brought into force.

use std::{cell::RefCell, fmt::Display, sync::Arc, time::Duration};

use router_common::{admission::Prefix, frame::Address, maps::BlockAction};
use tokio::{
    sync::Mutex,
    task::{spawn_blocking, yield_now},
    time::sleep,
};

use super::{
    entry::{By, Entry},
    error::BlockListError,
    lists::{InForce, Lists, Named, Plan, require_room},
    order::Write,
    store::Store,
};
use crate::{
    agent::{error::AgentError, state_dir::State, steering::Steering},
    clock::monotonic_now,
    config::{Config, FileBlock},
};

/// The block list, and what is in force of it.
pub(in crate::agent) struct Blocks {
    store: Arc<Store>,
    pub(super) lists: RefCell<Lists>,
    /// Changes are made one after the other.
    changing: Mutex<()>,
}

impl Blocks {
    /// What verbs of earlier runs have named; nothing is in force yet.
    ///
    /// # Errors
    /// If the file in the state folder cannot be read, or there is no room for what the configured files have beside it.
    pub(in crate::agent) fn open(state: &State, config: &Config) -> Result<Self, BlockListError> {
        let store = Arc::new(Store::new(state));
        let lists = Lists::default().with_verbs(store.read()?)?;
        let list = Self { store, lists: RefCell::new(lists), changing: Mutex::default() };
        list.require_room_for(config)?;
        Ok(list)
    }

    /// Brings the list into force at once, by the generation in charge: what the one before has changed since is taken
    /// over, with the entries that are in the kernel.
    pub(in crate::agent) fn take_charge(&self, steering: &Steering, config: &Config) {
        let mut lists = self.lists.borrow().clone().with_files(by_file(&config.admission.blocks));
        let found = self.store.read().map_err(AgentError::from).and_then(|by_verb| Ok((by_verb, steering.blocks()?)));
        match found {
            Ok((by_verb, in_force)) => lists = lists.adopting(by_verb, in_force),
            Err(e) => tracing::error!("block list: {e}"),
        }
        let plan = lists.plan();
        self.begin(steering, &plan);
        let refused = AllRefused::of(&self.write(steering, &plan.writes));
        said(self.end(steering, plan, refused));
    }

    /// Refuses a configuration whose files have more than there is room for beside what verbs have named.
    ///
    /// # Errors
    /// If there is no room.
    pub(in crate::agent) fn require_room_for(&self, config: &Config) -> Result<(), BlockListError> {
        let lists = self.lists.borrow();
        let by_file = config.admission.blocks.iter().filter(|block| !lists.by_verb.contains_key(&block.prefix));
        require_room(by_file.count() + lists.by_verb.len())
    }

    /// Brings the files' entries into force, in place of those that were read before.
    pub(in crate::agent) async fn reload(&self, steering: &Steering, config: &Config) {
        let blocks = Arc::clone(&config.admission.blocks);
        let change = move |lists: Lists| Ok(lists.with_files(by_file(&blocks)));
        said(self.change(steering, change).await);
    }

    /// Removes what verbs have named until now, and tries again what the kernel has refused.
    pub(in crate::agent) async fn catch_up(&self, steering: &Steering) {
        let now = monotonic_now();
        let change = move |lists: Lists| {
            let mut by_verb = Named::clone(&lists.by_verb);
            by_verb.retain(|prefix, entry| {
                if entry.is_over(now) {
                    tracing::info!("block list: {} of {prefix} has ended", entry.action.name());
                }
                !entry.is_over(now)
            });
            lists.with_verbs(by_verb)
        };
        said(self.change(steering, change).await);
    }

    /// Whether a verb has named something only until now, or the kernel has refused something.
    pub(in crate::agent) fn has_to_catch_up(&self) -> bool {
        let lists = self.lists.borrow();
        lists.is_behind() || lists.next_end().is_some_and(|end| end <= monotonic_now())
    }

    /// The entry that decides about `address`, which may have ended by now.
    pub(in crate::agent) fn find(&self, address: &Address) -> Option<InForce> {
        self.lists.borrow().find(address)
    }

    /// What is said of a prefix, if it is in the list.
    pub(super) fn named(&self, prefix: &Prefix) -> Option<Entry> {
        self.lists.borrow().named(prefix).cloned()
    }

    /// How many entries have each action.
    pub(in crate::agent) fn totals(&self) -> [(BlockAction, u64); BlockAction::ALL.len()] {
        self.lists.borrow().totals()
    }

    /// Changes what is named, by `change`: kept where verbs have named it, and in force, or as it was.
    pub(super) async fn change(
        &self,
        steering: &Steering,
        change: impl FnOnce(Lists) -> Result<Lists, BlockListError> + Send + 'static,
    ) -> Result<(), BlockListError> {
        let _one = self.changing.lock().await;
        let (lists, store) = (self.lists.borrow().clone(), Arc::clone(&self.store));
        let planned = spawn_blocking(move || {
            let changed = change(lists.clone())?;
            if !Arc::ptr_eq(&changed.by_verb, &lists.by_verb) {
                store.write(&changed.by_verb)?;
            }
            Ok::<_, BlockListError>(changed.plan())
        });
        let plan = planned.await.map_err(BlockListError::Thread)??;
        self.begin(steering, &plan);
        let mut refused = Vec::new();
        for some in plan.writes.chunks(WRITES_AT_ONCE) {
            refused.extend(self.write(steering, some));
            yield_now().await;
        }
        for pause in TRY_AGAIN_AFTER_MS {
            if refused.is_empty() {
                break;
            }
            sleep(Duration::from_millis(pause)).await;
            refused = self.write_again(steering, &refused).await;
        }
        let refused = AllRefused::of(&refused);
        self.end(steering, plan, refused)
    }

    /// Has workers see what the generation in charge has made of the list: here nothing else is brought into force.
    pub(super) async fn follow(&self, steering: &Steering) -> Result<(), BlockListError> {
        let _one = self.changing.lock().await;
        let (lists, store) = (self.lists.borrow().clone(), Arc::clone(&self.store));
        let planned = spawn_blocking(move || Ok::<_, BlockListError>(lists.with_verbs(store.read()?)?.plan()));
        let plan = planned.await.map_err(BlockListError::Thread)??;
        steering.set_block_table(plan.table);
        Ok(())
    }

    /// Before the writes of `plan`: an entry that is not looked up keeps nothing out.
    fn begin(&self, steering: &Steering, plan: &Plan) {
        if !plan.lists.in_force.is_empty() {
            said(steering.set_block_count(plan.lists.in_force.len() as u32));
        }
    }

    /// Some of them, into a map that has room for them; those that the kernel has refused all the same, for a lack of
    /// memory.
    fn write<'w>(&self, steering: &Steering, writes: impl IntoIterator<Item = &'w Write>) -> Vec<Refused<'w>> {
        let refused = |write: &'w Write| {
            let why = steering.write_block(write).err()?;
            Some(Refused { write, why: why.to_string() })
        };
        writes.into_iter().filter_map(refused).collect()
    }

    /// Those that the kernel has refused; those that it refuses again.
    async fn write_again<'w>(&self, steering: &Steering, refused: &[Refused<'w>]) -> Vec<Refused<'w>> {
        let mut again = Vec::new();
        for some in refused.chunks(WRITES_AT_ONCE) {
            again.extend(self.write(steering, some.iter().map(|one| one.write)));
            yield_now().await;
        }
        again
    }

    /// After them.
    ///
    /// # Errors
    /// If the kernel has refused some.
    fn end(&self, steering: &Steering, plan: Plan, refused: AllRefused) -> Result<(), BlockListError> {
        steering.set_block_table(plan.table);
        let AllRefused { prefixes, why } = refused;
        let lists = plan.lists.refused(&self.lists.borrow().in_force, &prefixes);
        if lists.in_force.is_empty() {
            said(steering.set_block_count(0));
        }
        let before = self.lists.replace(lists);
        // Long ones take a while to be freed.
        drop(std::thread::Builder::new().spawn(move || drop((before, plan.writes))));
        match why {
            None => Ok(()),
            Some(why) => Err(BlockListError::Behind { writes: prefixes.len(), why }),
        }
    }
}

/// A change that the kernel has refused.
struct Refused<'w> {
    write: &'w Write,
    why: String,
}

/// Those that it has refused in the end.
struct AllRefused {
    prefixes: Vec<Prefix>,
    /// Why it refused the first of them.
    why: Option<String>,
}

impl AllRefused {
    fn of(refused: &[Refused<'_>]) -> Self {
        Self {
            prefixes: refused.iter().map(|one| one.write.prefix()).collect(),
            why: refused.first().map(|one| one.why.clone()),
        }
    }
}

/// What the configured files name.
fn by_file(blocks: &[FileBlock]) -> Named {
    let entry = |block: &FileBlock| {
        let by = By::File(block.place.clone());
        (block.prefix, Entry { action: block.action, until: 0, why: block.why.clone(), by })
    };
    blocks.iter().map(entry).collect()
}

fn said<E: Display>(written: Result<(), E>) {
    if let Err(e) = written {
        tracing::error!("block list: {e}");
    }
}

/// So many take some milliseconds.
const WRITES_AT_ONCE: usize = 200;

/// The kernel keeps a little memory ready on each CPU for entries of maps, and gets more in the background. On a busy CPU it
/// falls behind a long list for some milliseconds, and refuses what comes meanwhile.
const TRY_AGAIN_AFTER_MS: [u64; 6] = [10, 20, 50, 100, 200, 400];
