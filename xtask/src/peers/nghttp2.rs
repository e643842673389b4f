//! h2load and nghttpx with HTTP/3, which Debian's packages of them leave out: built from the
//! package's source with the newest Debian's compiler and libraries, inside of where these were
//! unpacked. A user namespace is all the root that takes.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};

use super::debian::SID;
use crate::shell::capture;

/// Builds both.
pub(super) fn ready() -> Result<()> {
    super::once("nghttp2", &[BUILD, &SID.recipe()].concat(), || {
        let root = SID.root();
        fs::write(root.join("build.sh"), BUILD)?;
        let mut build = Command::new("unshare");
        build.args(["--user", "--map-root-user", "chroot"]).arg(&root).args(["/usr/bin/sh", "-e", "/build.sh"]);
        capture(&mut build).context("cannot build h2load")?;
        Ok(fs::remove_dir_all(root.join("build"))?)
    })
}

/// The unpacked release has no `c++`, which its installation would make, and no devices; ninja has
/// its children read an empty file as well.
const BUILD: &str = "export PATH=/usr/bin:/usr/sbin HOME=/build
touch /dev/null
rm -rf /build
mkdir /build
cd /build
tar --extract --no-same-owner --strip-components=1 --file /usr/src/nghttp2_*.orig.tar.*
cmake -G Ninja -B out -DCMAKE_BUILD_TYPE=Release -DCMAKE_C_COMPILER=gcc -DCMAKE_CXX_COMPILER=g++ \\
    -DENABLE_HTTP3=ON -DENABLE_APP=ON -DENABLE_DOC=OFF -DBUILD_TESTING=OFF \\
    -DBUILD_SHARED_LIBS=OFF -DBUILD_STATIC_LIBS=ON
ninja -C out h2load nghttpx
mv out/src/h2load out/src/nghttpx /usr/bin/
";
