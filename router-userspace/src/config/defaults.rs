//! Paths that hold unless others are asked for.

use super::keys::ROUTER;

/// The file that is read unless another is named.
pub const DEFAULT_PATH: &str = "/etc/quic-router/config.toml";

/// Where maps and links are pinned unless the configuration says otherwise.
pub const DEFAULT_BPF_DIR: &str = ROUTER.bpf_dir.default();

/// Where the control socket is unless the configuration says otherwise.
pub const DEFAULT_CONTROL: &str = ROUTER.control.default();
