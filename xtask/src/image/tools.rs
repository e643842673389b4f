//! What makes images, and what runs one to try it.

use crate::{
    plan::{Part, Step},
    setup,
    shell::find,
};

/// Installs what makes images.
pub(super) fn step() -> Step {
    let step = Step::new("tools that make images", || {
        let missing = PROGRAMS.iter().filter(|(program, _)| find(program).is_none()).map(|(_, package)| *package);
        let authorities =
            (!std::path::Path::new("/etc/ssl/certs/ca-certificates.crt").exists()).then_some("ca-certificates");
        setup::install(&missing.chain(authorities).collect::<Vec<_>>())
    });
    step.detail("apt-get install umoci skopeo binutils ca-certificates, those that are missing")
        .needs([Part::Tools])
        .gives([Part::ImageTools])
}

/// Installs what runs one.
pub(super) fn crun() -> Step {
    let step =
        Step::new("a container runtime", || setup::install(if find("crun").is_none() { &["crun"] } else { &[] }));
    step.detail("apt-get install crun, if it is missing").needs([Part::Tools])
}

/// A program, and the package that brings it.
const PROGRAMS: &[(&str, &str)] =
    &[("umoci", "umoci"), ("skopeo", "skopeo"), ("strip", "binutils"), ("readelf", "binutils")];
