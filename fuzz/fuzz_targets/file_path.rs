//! A path of a request for a file: what comes of it stays below the folder that is served.
//!
//! `cargo +nightly fuzz run file_path` (from this folder's parent).

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../router-userspace/src/edge/files"]
mod files {
    mod fields {
        use http::HeaderValue;

        pub(super) fn printed(text: String) -> HeaderValue {
            HeaderValue::try_from(text).expect("what is printed is a field's value")
        }
    }
    mod target;

    pub(super) fn holds(reference: &str) {
        let Some(target) = target::Target::parse(reference) else { return };
        let path = target.path();
        let names: Vec<_> = path.split('/').collect();
        for (at, name) in names.iter().enumerate() {
            assert!(!matches!(*name, "" | "." | ".."), "{reference:?} became {path:?}");
            assert!(!name.starts_with('.') || (at, *name) == (0, ".well-known"), "hidden: {path:?}");
        }
        assert!(!path.contains('\0'), "{path:?}");
        // Each name is what the client wrote as one segment.
        assert_eq!(names.len(), reference.split('?').next().expect("a part").matches('/').count(), "{path:?}");
        assert!(target.content_type().to_str().is_ok());
        if let Some((index, location)) = target.with_slash() {
            assert_eq!(index, format!("{path}/index.html"));
            let location = location.to_str().expect("visible ASCII");
            let place = location.split('?').next().expect("a part");
            assert!(place.starts_with("./") && place.ends_with('/') && place.matches('/').count() == 2, "{location:?}");
        }
    }
}

fuzz_target!(|input: &str| files::holds(input));
