//! QUIC programs that others wrote, for demo, tests and benchmarks: kept in `.cache/peers`, made once.
//!
//! | program | what it is |
//! |---|---|
//! | `goq` | quic-go, our program around it (`tests/peers/quic-go-client`) |
//! | `aioq` | aioquic, our program around it (`tests/peers/aioquic-client.py`) |
//! | `s2nq` | s2n-quic, with the h3 crate; our program around them (`tests/peers/s2n-client`) |
//! | `rude` | aioquic, h2 and plain TLS, told to send what they would not (`tests/peers/rude-client.py`) |
//! | `hostile` | aioquic, told to do harm in many ways at once (`tests/peers/hostile-client.py`) |
//! | `unlock` | aioquic's cryptography: what a server sent in a capture, by a key log (`tests/peers/unlock-capture.py`) |
//! | `curl` | curl with OpenSSL's QUIC, whose first flight is two Initials |
//! | `openssl` | OpenSSL's `s_client`, over TCP and QUIC |
//! | `chromium` | Chromium without a screen |
//! | `gtlsclient` | ngtcp2's client |
//! | `nginx` | nginx with QUIC, to compare with in benchmarks |
//! | `etcd`, `etcdctl` | the store behind the membership engine `etcd`, and a client to do harm to it |
//! | `xdp-trafficgen` | no client: it has the kernel send one frame again and again, as fast as it can |
//!
//! `bench http` needs more, of the newest there is:
//!
//! | program | what it is |
//! |---|---|
//! | `h2load` | the load, built with HTTP/3 from nghttp2's sources |
//! | `nginx-sid`, `haproxy`, `caddy`, `nghttpx` | proxies for HTTP/3 |
//!
//! The rule this folder keeps: each part is made under another name and renamed when it is whole,
//! and carries a stamp of its recipe. So an interrupted run is taken up again, a changed recipe is
//! seen, and looking costs no process. Nothing is installed on the machine itself, and nothing
//! needs root.

mod aioquic;
mod debian;
mod nghttp2;
mod picoquic;
mod programs;
mod quic_go;
mod s2n;

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use self::debian::Release;
use crate::{
    plan::{Part, Plan, Step},
    workspace,
};

/// A program that others wrote.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Peer {
    QuicGo,
    GoNet,
    Aioquic,
    AioquicHq,
    Picoquic,
    Rude,
    Hostile,
    Unlock,
    Curl,
    Openssl,
    Chromium,
    Ngtcp2,
    S2n,
    Nginx,
    Etcd,
    Etcdctl,
    XdpTrafficgen,
    Bird,
    H2load,
    NginxSid,
    Haproxy,
    Caddy,
    Nghttpx,
}

impl Peer {
    /// Those that the tests start, of the laboratory and of the crates.
    pub(crate) const OF_TESTS: [Self; 16] = [
        Self::QuicGo,
        Self::Aioquic,
        Self::AioquicHq,
        Self::Rude,
        Self::Hostile,
        Self::Unlock,
        Self::Curl,
        Self::Openssl,
        Self::Chromium,
        Self::Ngtcp2,
        Self::Nginx,
        Self::Etcd,
        Self::Etcdctl,
        Self::XdpTrafficgen,
        Self::Bird,
        Self::S2n,
    ];

    /// Those that the crates' own tests start.
    pub(crate) const OF_CRATES: [Self; 2] = [Self::Etcd, Self::Etcdctl];

    /// Those of the interop matrix.
    pub(crate) const OF_INTEROP: [Self; 8] = [
        Self::QuicGo,
        Self::GoNet,
        Self::AioquicHq,
        Self::Picoquic,
        Self::Ngtcp2,
        Self::Openssl,
        Self::Curl,
        Self::S2n,
    ];

    /// Those that `bench http` starts.
    pub(crate) const OF_BENCH_HTTP: [Self; 6] =
        [Self::QuicGo, Self::H2load, Self::NginxSid, Self::Haproxy, Self::Caddy, Self::Nghttpx];

    /// Its name in the folder of programs.
    fn program(self) -> &'static str {
        match self {
            Self::QuicGo => "goq",
            Self::GoNet => "netq",
            Self::Aioquic => "aioq",
            Self::AioquicHq => "hqpy",
            Self::Picoquic => "hqpico",
            Self::Rude => "rude",
            Self::Hostile => "hostile",
            Self::Unlock => "unlock",
            Self::Curl => "curl",
            Self::Openssl => "openssl",
            Self::Chromium => "chromium",
            Self::Ngtcp2 => "gtlsclient",
            Self::S2n => "s2nq",
            Self::Nginx => "nginx",
            Self::Etcd => "etcd",
            Self::Etcdctl => "etcdctl",
            Self::XdpTrafficgen => "xdp-trafficgen",
            Self::Bird => "bird",
            Self::H2load => "h2load",
            Self::NginxSid => "nginx-sid",
            Self::Haproxy => "haproxy",
            Self::Caddy => "caddy",
            Self::Nghttpx => "nghttpx",
        }
    }

    fn source(self) -> &'static Source {
        match self {
            Self::QuicGo => &QUIC_GO,
            Self::GoNet => &GO_NET,
            Self::Aioquic | Self::AioquicHq | Self::Rude | Self::Hostile | Self::Unlock => &AIOQUIC,
            Self::Picoquic => &PICOQUIC,
            Self::Curl | Self::Openssl | Self::Ngtcp2 | Self::Nginx => &TRIXIE,
            Self::Chromium => &CHROMIUM,
            Self::S2n => &S2N,
            Self::Etcd | Self::Etcdctl => &BOOKWORM,
            Self::XdpTrafficgen => &FORKY,
            Self::Bird => &BIRD,
            Self::H2load | Self::NginxSid | Self::Haproxy | Self::Caddy | Self::Nghttpx => &SID,
        }
    }
}

/// Where peers come from: what is made in one go.
struct Source {
    what: &'static str,
    gives: &'static [Peer],
    /// For `--dry-run`.
    from: fn() -> String,
    make: fn() -> Result<()>,
}

/// Makes those of these peers that are missing, and nothing else.
pub(crate) fn plan(peers: &[Peer]) -> Plan {
    let steps = peers.iter().map(|peer| {
        let source = peer.source();
        let step = Step::new(format!("third-party programs: {}", source.what), || {
            fs::create_dir_all(folder().join("bin"))?;
            (source.make)()
        });
        step.detail((source.from)()).gives(source.gives.iter().copied().map(Part::Peer)).aside()
    });
    steps.fold(Plan::default(), Plan::then)
}

/// A folder whose `bin` has these peers and no others.
pub(crate) fn view(name: &str, peers: &[Peer]) -> Result<PathBuf> {
    let view = folder().join("views").join(name);
    let bin = view.join("bin");
    if bin.exists() {
        fs::remove_dir_all(&bin)?;
    }
    fs::create_dir_all(&bin)?;
    for peer in peers {
        let link = bin.join(peer.program());
        symlink(folder().join("bin").join(peer.program()), &link)
            .with_context(|| format!("cannot make {}", link.display()))?;
    }
    Ok(view)
}

/// The mirror of Debian's archive that this machine's apt uses.
pub(crate) fn debian_mirror() -> Result<String> {
    debian::mirror()
}

fn folder() -> PathBuf {
    workspace::cache("peers")
}

/// Makes a part by its recipe unless it was made by the same one before.
fn once(part: &str, recipe: &str, make: impl FnOnce() -> Result<()>) -> Result<()> {
    let stamp = folder().join(format!("{part}.stamp"));
    if fs::read_to_string(&stamp).is_ok_and(|made_by| made_by == recipe) {
        return Ok(());
    }
    eprintln!("setup: making {part}");
    make()?;
    fs::write(stamp, recipe)?;
    Ok(())
}

/// A recipe that is the sources: their names, and a hash of what is in them.
fn recipe(sources: &Path) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    hash(sources, &mut hasher)?;
    Ok(format!("{:016x}", hasher.finish()))
}

fn hash(folder: &Path, hasher: &mut DefaultHasher) -> Result<()> {
    let unreadable = |path: &Path| format!("cannot read {}", path.display());
    let entries = fs::read_dir(folder).with_context(|| unreadable(folder))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    // What a cargo run by hand has built there is no source.
    for path in paths.into_iter().filter(|path| !path.ends_with("target")) {
        path.file_name().hash(hasher);
        if path.is_dir() {
            hash(&path, hasher)?;
        } else {
            fs::read(&path).with_context(|| unreadable(&path))?.hash(hasher);
        }
    }
    Ok(())
}

static QUIC_GO: Source = Source {
    what: "quic-go",
    gives: &[Peer::QuicGo],
    from: || format!("unpack {}; go build goq", debian::GO.contents()),
    make: || debian::GO.ready().and_then(|()| quic_go::ready("goq", "quic-go-client")),
};

static GO_NET: Source = Source {
    what: "golang.org/x/net/quic",
    gives: &[Peer::GoNet],
    from: || format!("unpack {}; go build netq", debian::GO.contents()),
    make: || debian::GO.ready().and_then(|()| quic_go::ready("netq", "go-net-client")),
};

static S2N: Source = Source { what: "s2n-quic", gives: &[Peer::S2n], from: || s2n::LINE.into(), make: s2n::ready };

static AIOQUIC: Source = Source {
    what: "aioquic",
    gives: &[Peer::Aioquic, Peer::AioquicHq, Peer::Rude, Peer::Hostile, Peer::Unlock],
    from: || format!("pip install {}, in an environment of its own", aioquic::PACKAGES.join(" ")),
    make: || aioquic::ready().and_then(|()| programs::of_aioquic()),
};

static PICOQUIC: Source = Source {
    what: "picoquic",
    gives: &[Peer::Picoquic],
    from: || format!("unpack {}; pip download {}", debian::PYTHON.contents(), picoquic::PACKAGE),
    make: || {
        debian::PYTHON.ready()?;
        picoquic::ready()?;
        programs::of_picoquic()
    },
};

static TRIXIE: Source = Source {
    what: "curl, OpenSSL, ngtcp2, nginx",
    gives: &[Peer::Curl, Peer::Openssl, Peer::Ngtcp2, Peer::Nginx],
    from: || format!("unpack {}", debian::TRIXIE.contents()),
    make: || unpacked(&debian::TRIXIE, programs::of_trixie),
};

static CHROMIUM: Source = Source {
    what: "Chromium",
    gives: &[Peer::Chromium],
    from: || format!("unpack {}", debian::CHROMIUM.contents()),
    make: || unpacked(&debian::CHROMIUM, programs::of_chromium),
};

static BOOKWORM: Source = Source {
    what: "etcd",
    gives: &[Peer::Etcd, Peer::Etcdctl],
    from: || format!("unpack {}", debian::BOOKWORM.contents()),
    make: || unpacked(&debian::BOOKWORM, programs::of_bookworm),
};

static FORKY: Source = Source {
    what: "xdp-trafficgen",
    gives: &[Peer::XdpTrafficgen],
    from: || format!("unpack {}", debian::FORKY.contents()),
    make: || unpacked(&debian::FORKY, programs::of_forky),
};

static BIRD: Source = Source {
    what: "bird",
    gives: &[Peer::Bird],
    from: || format!("unpack {}", debian::BIRD.contents()),
    make: || unpacked(&debian::BIRD, programs::of_bird),
};

static SID: Source = Source {
    what: "h2load, nginx, HAProxy, Caddy, nghttpx",
    gives: &[Peer::H2load, Peer::NginxSid, Peer::Haproxy, Peer::Caddy, Peer::Nghttpx],
    from: || format!("unpack {}; build h2load and nghttpx with HTTP/3", debian::SID.contents()),
    make: || debian::SID.ready().and_then(|()| nghttp2::ready()).and_then(|()| programs::of_sid()),
};

fn unpacked(release: &'static Release, scripts: fn() -> Result<()>) -> Result<()> {
    release.ready()?;
    scripts()
}
