//! A request's path as routes compare it: its normal form has none of its own, and the widest reading of it is never
//! wider than itself.
//!
//! `cargo +nightly fuzz run route_path` (from this folder's parent).

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../router-userspace/src/config/paths.rs"]
#[expect(dead_code, reason = "the source file is the router's, which calls the rest of it")]
mod paths;

fuzz_target!(|input: &[u8]| {
    // What `http` takes for a path.
    let visible = input.iter().filter(|octet| octet.is_ascii_graphic() && !b"?#".contains(octet));
    let path: String = std::iter::once('/').chain(visible.map(|&octet| char::from(octet))).collect();
    let Ok(normal) = paths::normal(&path) else { return };
    assert!(normal.starts_with('/'), "{path:?} became {normal:?}");
    assert_eq!(paths::normal(&normal).as_deref(), Ok(&*normal), "{path:?} has two normal forms");
    assert!(!normal.split('/').any(|segment| matches!(segment, "." | "..")), "{path:?} became {normal:?}");
    let merged = paths::merged(&normal);
    assert!(!merged.contains("//"), "{merged:?}");
    assert!(paths::is_below(&merged, "/"));
    let Ok(Some(wide)) = paths::widest(&normal) else { return };
    assert!(wide.starts_with('/') && !wide.contains("//"), "{normal:?} may be read as {wide:?}");
    assert!(!wide.split('/').any(|segment| matches!(segment, "." | "..")), "{normal:?} may be read as {wide:?}");
});
