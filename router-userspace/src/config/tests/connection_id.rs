//! `[connection_id]`: server IDs, lengths, and keys in files. What is refused in few words stands
//! in `refused.txt`.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::{Folder, LISTENER, complaint, parse};
use crate::config::{Config, ConnectionIdPlan, Encryption, StartFlags};

const HEX: &str = "f0e1d2c3b4a5968778695a4b3c2d1e0f";

fn plan(table: &str) -> ConnectionIdPlan {
    parse(&format!("{LISTENER}[connection_id]\n{table}\n")).unwrap().connection_id
}

#[test]
fn lengths_that_hold_the_server_id_and_a_nonce() {
    for (server_id, shortest) in
        [(None, 8), (Some("5a"), 6), (Some("AAECAwQFBgc="), 13), (Some("AQIDBAUGBwgJCgsM"), 17)]
    {
        let server_id = server_id.map(|text| format!("server_id = \"{text}\"\n")).unwrap_or_default();
        assert_eq!(plan(&server_id).length, 17, "{server_id}");
        for length in shortest..=20 {
            assert_eq!(plan(&format!("{server_id}length = {length}")).length, length, "{server_id}");
        }
    }
    let fifteen = format!("server_id = \"{}\"\nlength = 20", "5a".repeat(15));
    assert_eq!(plan(&fifteen).length, 20);
}

#[test]
fn a_server_id_that_is_wrong_is_all_that_is_wrong() {
    let text = format!("{LISTENER}[connection_id]\nserver_id = \"xyz!\"\nlength = 6\n");
    assert_eq!(parse(&text).unwrap_err().problems().len(), 1);
}

#[test]
fn the_load_balancer_of_aws() {
    for server_id in ["AAECAwQFBgc=", "0001020304050607", "0x0001020304050607"] {
        let plan = plan(&format!("server_id = \"{server_id}\"\nlength = 16\nencryption = \"none\""));
        assert_eq!(plan.server_id.unwrap().as_slice(), [0, 1, 2, 3, 4, 5, 6, 7], "{server_id}");
        assert_eq!((plan.length, plan.encryption), (16, Encryption::None));
    }
}

#[test]
fn a_server_id_that_nobody_can_read_is_noticed() {
    let folder = Folder::new();
    let file = format!("encryption = \"file:{}\"", folder.secret("cid.key", HEX).display());
    for (server_id, encryption, noticed) in [
        ("server_id = \"5a\"", "", true),
        ("server_id = \"5a\"", "encryption = \"auto\"", true),
        ("server_id = \"5a\"", "encryption = \"none\"", false),
        ("server_id = \"5a\"", file.as_str(), false),
        ("", "", false),
        ("", "encryption = \"auto\"", false),
        ("", "encryption = \"none\"", false),
        ("", file.as_str(), false),
    ] {
        let config = parse(&format!("{LISTENER}[connection_id]\n{server_id}\n{encryption}\n")).unwrap();
        let about = "router.toml:4: connection_id.server_id: the load balancer in front can't read it";
        let found = config.notices.iter().any(|notice| notice.starts_with(about));
        assert_eq!(found, noticed, "{server_id} {encryption}: {:?}", config.notices);
    }
}

#[test]
fn keys_in_files() {
    let folder = Folder::new();
    let encryption = |path: &Path| format!("encryption = \"file:{}\"", path.display());
    let good = folder.secret("cid.key", &format!("{HEX}\n"));
    assert_eq!(plan(&encryption(&good)).encryption, Encryption::File(good));

    let exposed = folder.secret("exposed.key", HEX);
    fs::set_permissions(&exposed, fs::Permissions::from_mode(0o644)).unwrap();
    let short = folder.secret("short.key", "f0e1d2c3");
    let junk = folder.secret("junk.key", "swordfish!");
    let absent = folder.path("absent.key");
    let openssl = |path: &Path| format!("(umask 077; openssl rand -hex 16 > {})", path.display());
    for (path, why, hint) in [
        (&exposed, "is open to others than its owner (mode 644)", format!("chmod 600 {}", exposed.display())),
        (&short, "holds a key of 4 octets, not 16", openssl(&short)),
        (
            &junk,
            "holds neither hex nor base64",
            "a key is 16 octets in hex or base64, as `openssl rand -hex 16` makes one".to_owned(),
        ),
        (&absent, "cannot be read: No such file or directory (os error 2)", openssl(&absent)),
    ] {
        let expected = format!("router.toml:4: connection_id.encryption: {} {why} | {hint}", path.display());
        assert_eq!(complaint(&format!("{LISTENER}[connection_id]\n{}\n", encryption(path))), expected);
    }
}

#[test]
fn relative_key_files_start_from_the_files_folder() {
    let folder = Folder::new();
    let key = folder.secret("cid.key", HEX);
    let text = format!("{LISTENER}[connection_id]\nencryption = \"file:cid.key\"\n");
    let path = folder.file("config.toml", &text);
    let config = Config::load(&path, &StartFlags::default(), None).unwrap();
    assert_eq!(config.connection_id.encryption, Encryption::File(key));
}
