//! From nothing to a datapath: with maps of its own, or with those of the generation that runs.

use router_common::{
    identifiers::ConfigRotation,
    maps::{
        ASSIGNMENT_SIZE, Assigned, AssignedNode, CidConfig, CidKeys, Listener, ListenerKey, NODE_ASSIGNMENT_SIZE,
        Secrets, Settings, names,
    },
};

use super::{
    error::{DatapathError, Result},
    handle::Datapath,
    object,
    pins::Pins,
    plain::Plain,
    size::Size,
};

/// What to write before the first packet.
#[derive(Clone)]
pub struct Initial {
    /// For the whole node.
    pub settings: Settings,
    /// The seed of the hash that places new connections; secret.
    pub secrets: Secrets,
    /// How to decode connection IDs; the keys are secret.
    pub cid_configs: Vec<CidEntry>,
    /// Those to answer on.
    pub listeners: Vec<(ListenerKey, Listener)>,
}

/// One configuration of connection IDs, as the maps `cid_configs` and `cid_keys` have it.
#[derive(Clone, Copy)]
pub struct CidEntry {
    /// Where it stands in both.
    pub rotation: ConfigRotation,
    /// How to decode.
    pub config: CidConfig,
    /// What with; secret.
    pub keys: CidKeys,
}

impl Datapath {
    /// Loads the programs, pins the maps and fills in `initial`. Attaches nothing yet.
    ///
    /// With `kernel_log` the build with diagnostics is loaded, and logs through `tracing`
    /// at that level; this has to happen within a tokio runtime.
    ///
    /// # Errors
    /// What the kernel refused, and the way out.
    pub fn load(pins: Pins, size: &Size, initial: &Initial, kernel_log: Option<&str>) -> Result<Self> {
        let (mut ebpf, kernel_log) = object::load(size, kernel_log, None)?;
        for name in names::ALL {
            pins.pin_map(&ebpf, name)?;
        }
        object::load_programs(&mut ebpf)?;
        object::link_programs(&mut ebpf)?;
        let mut datapath = Self::new(ebpf, kernel_log, pins, initial.settings);
        datapath.fill_in(initial)?;
        datapath.pins.settle()?;
        Ok(datapath)
    }

    /// Loads the programs beside those of the generation that runs, with its maps. What is in
    /// force stays in force: nothing is changed but that configurations of connection IDs are
    /// added which that generation does not have.
    ///
    /// # Errors
    /// If the maps are not as this program knows them, or belong to another node.
    pub fn join(pins: Pins, size: &Size, initial: &Initial, kernel_log: Option<&str>) -> Result<Self> {
        pins.require_schema()?;
        let (mut ebpf, kernel_log) = object::load(size, kernel_log, Some(&pins))?;
        object::load_programs(&mut ebpf)?;
        let mut datapath = Self::new(ebpf, kernel_log, pins, initial.settings);
        let running: Plain<Settings> = datapath.array(names::SETTINGS)?.get(&0, 0)?;
        let secrets: Plain<Secrets> = datapath.array(names::SECRETS)?.get(&0, 0)?;
        let same = (running.0.node_id(), running.0.cid_length())
            == (initial.settings.node_id(), initial.settings.cid_length());
        if !same || secrets.0 != initial.secrets {
            return Err(DatapathError::OtherNode(datapath.pins.directory().to_owned()));
        }
        // Its assignment stays in force until ours is flipped in.
        datapath.settings = initial.settings.after(running.0);
        for CidEntry { rotation, config, keys } in &initial.cid_configs {
            datapath.set_cid_config(*rotation, *config, keys)?;
        }
        object::link_programs(&mut datapath.ebpf)?;
        Ok(datapath)
    }

    /// Takes back what another generation, which has ended, has changed: our settings are in
    /// force again (the assignment has to follow), and our programs wherever they were.
    pub fn resume(&mut self, interfaces: &[String]) -> Result<()> {
        let running: Plain<Settings> = self.array(names::SETTINGS)?.get(&0, 0)?;
        self.settings = self.settings.after(running.0);
        object::link_programs(&mut self.ebpf)?;
        let had = std::mem::take(&mut self.attachments);
        let wanted = interfaces.iter().filter(|interface| had.contains_key(*interface));
        for interface in wanted {
            self.take_over(interface)?;
        }
        Ok(())
    }

    fn fill_in(&mut self, initial: &Initial) -> Result<()> {
        for CidEntry { rotation, config, keys } in &initial.cid_configs {
            self.set_cid_config(*rotation, *config, keys)?;
        }
        self.set_listeners(&initial.listeners)?;
        for index in 0..2 * ASSIGNMENT_SIZE {
            self.array(names::ASSIGNMENT)?.set(index, Plain(Assigned::NONE), 0)?;
        }
        for index in 0..2 * NODE_ASSIGNMENT_SIZE {
            self.array(names::NODE_ASSIGNMENT)?.set(index, Plain(AssignedNode::HERE), 0)?;
        }
        self.array(names::SECRETS)?.set(0, Plain(initial.secrets), 0)?;
        self.array(names::SETTINGS)?.set(0, Plain(initial.settings), 0)?;
        Ok(())
    }
}
