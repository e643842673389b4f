//! Circles between the files of a crate: files of which each needs the next, and the last the first, so that none can be
//! understood or tested without all the others.
//!
//! A file needs the one that defines what it names: re-exports are followed there, and are no need of the file that has
//! them. So a `mod.rs` that declares modules and re-exports names is in no circle. Methods name no file: where the `impl`
//! blocks of a type are spread over files, these need the type's, and what they call of one another is not seen.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    path::Path,
    slice,
};

use anyhow::{Context, Result, ensure};

use super::source::{Segments, Source, sources};

/// A crate's files, by their modules.
pub(crate) struct Crate(BTreeMap<Segments, File>);

struct File {
    /// Below `src`.
    name: String,
    source: Source,
    /// Of circles that are to be: the other file, and why.
    reasons: Vec<(String, String)>,
}

/// Which file needs which others.
type Needs<'c> = BTreeMap<&'c str, BTreeSet<&'c str>>;

impl Crate {
    /// Reads the library in `src`.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub(crate) fn read(src: &Path) -> Result<Self> {
        let mut files = Vec::new();
        for path in sources(src)? {
            let name = path.strip_prefix(src)?.to_string_lossy().into_owned();
            // Crates of their own.
            if name != "main.rs" && !name.starts_with("bin/") {
                files.push((name, fs::read_to_string(&path)?));
            }
        }
        Self::of(files.iter().map(|(name, text)| (&**name, &**text)))
    }

    fn of<'f>(files: impl IntoIterator<Item = (&'f str, &'f str)>) -> Result<Self> {
        let mut all = BTreeMap::new();
        for (name, text) in files {
            let source = Source::read(text).context(name.to_owned())?;
            for import in source.imports() {
                ensure!(import.name != "*", "{name}: a glob hides what it imports from {}", import.path.join("::"));
            }
            all.insert(module_of(name), File { name: name.to_owned(), source, reasons: reasons(text) });
        }
        let for_tests = |(module, file): (&Segments, &File)| {
            file.source.test_modules().iter().map(|name| join(module, slice::from_ref(name))).collect::<Vec<_>>()
        };
        for module in all.iter().flat_map(for_tests).collect::<Vec<_>>() {
            all.retain(|other: &Segments, _| !other.starts_with(&module));
        }
        Ok(Self(all))
    }

    /// What is wrong: circles of more than two files, and circles of two for which no comment gives a reason:
    ///
    /// ```text
    /// // circle: edge/http/headers.rs: why the two need one another
    /// ```
    ///
    /// Also such comments where there is no circle.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let all = self.needs();
        let unexplained = circles(&all).into_iter().filter(|circle| !self.explains(circle));
        let mut complaints: Vec<_> = unexplained.map(|circle| described(&circle, &all)).collect();
        complaints.extend(self.reasons().filter_map(|(file, other, why)| {
            let needs = |one: &str, another: &str| all.get(one).is_some_and(|others| others.contains(another));
            match needs(file, other) && needs(other, file) {
                true if why.is_empty() => Some(format!("{file}: no reason is given for the circle with {other}")),
                true => None,
                false => Some(format!("{file}: there is no circle with {other}")),
            }
        }));
        complaints
    }

    /// Whether a circle is of two files, one of which says why.
    fn explains(&self, circle: &BTreeSet<&str>) -> bool {
        let has = |(file, other, _): (&str, &str, &str)| BTreeSet::from([file, other]) == *circle;
        circle.len() == 2 && self.reasons().any(has)
    }

    /// Which file says of a circle with which other why it is.
    fn reasons(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.0.values().flat_map(|file| file.reasons.iter().map(|(other, why)| (&*file.name, &**other, &**why)))
    }

    fn needs(&self) -> Needs<'_> {
        self.0.iter().map(|(module, file)| (&*file.name, self.needs_of(module, file))).collect()
    }

    fn needs_of(&self, module: &Segments, file: &File) -> BTreeSet<&str> {
        // A re-export is a need only where its name is used too, and then it is among the paths.
        let private = file.source.imports().iter().filter(|import| !import.is_public).map(|import| &import.path);
        let definers = private.chain(file.source.paths()).filter_map(|path| self.definer(module, path, HOPS_MAX));
        definers.map(|definer| &*definer.name).filter(|name| *name != file.name).collect()
    }

    /// The file that defines what `path` means in `module`; none if that is a module, or of another crate.
    fn definer(&self, module: &[String], path: &[String], hops: usize) -> Option<&File> {
        let hops = hops.checked_sub(1)?;
        let (first, rest) = path.split_first()?;
        let from = match &**first {
            "crate" => return self.definer_below(rest, hops),
            "self" => return self.definer_below(&join(module, rest), hops),
            "super" => {
                let up = rest.iter().take_while(|segment| *segment == "super").count();
                let parent = module.len().checked_sub(1 + up)?;
                return self.definer_below(&join(&module[..parent], &rest[up..]), hops);
            }
            _ => self.0.get(module)?,
        };
        match from.source.import(first) {
            Some(import) => self.definer(module, &join(&import.path, rest), hops),
            None if self.0.contains_key(&join(module, &path[..1])) => self.definer_below(&join(module, path), hops),
            None => None,
        }
    }

    /// The same for a path that begins at the crate's root.
    fn definer_below(&self, path: &[String], hops: usize) -> Option<&File> {
        let module =
            (0..=path.len()).rev().map(|length| &path[..length]).find(|module| self.0.contains_key(*module))?;
        let name = path.get(module.len())?;
        let file = self.0.get(module)?;
        match file.source.import(name) {
            Some(_) => self.definer(module, &path[module.len()..], hops),
            None => Some(file),
        }
    }
}

/// Re-exports of re-exports that are followed; as many mean that one leads to itself, as `use quinn;` does.
const HOPS_MAX: usize = 32;

/// The module that a file is: `mod.rs` is its folder.
fn module_of(file: &str) -> Segments {
    let mut module: Segments = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod" || last == "lib") {
        module.pop();
    }
    module
}

fn join(stem: &[String], rest: &[String]) -> Segments {
    [stem, rest].concat()
}

/// The comments of a file that say why there is a circle of two.
fn reasons(text: &str) -> Vec<(String, String)> {
    let comments = text.lines().filter_map(|line| line.trim().strip_prefix("// circle:"));
    let split = |comment: &str| {
        let (file, why) = comment.split_once(": ").unwrap_or((comment, ""));
        (file.trim().trim_end_matches(':').to_owned(), why.trim().to_owned())
    };
    comments.map(|comment| split(comment.trim())).collect()
}

/// All circles: files that are reached from one another.
fn circles<'c>(needs: &Needs<'c>) -> BTreeSet<BTreeSet<&'c str>> {
    let reached: BTreeMap<_, _> = needs.keys().map(|&file| (file, reached(needs, file))).collect();
    let circle = |file: &'c str| reached[file].iter().copied().filter(|&other| reached[other].contains(file)).collect();
    needs.keys().map(|&file| circle(file)).filter(|circle: &BTreeSet<_>| circle.len() > 1).collect()
}

fn reached<'c>(needs: &Needs<'c>, from: &'c str) -> BTreeSet<&'c str> {
    let (mut reached, mut ahead) = (BTreeSet::new(), vec![from]);
    while let Some(file) = ahead.pop() {
        ahead.extend(needs[file].iter().copied().filter(|&other| reached.insert(other)));
    }
    reached
}

/// The shortest way from a circle's first file back to it, then all that its files need of one another.
fn described(circle: &BTreeSet<&str>, needs: &Needs<'_>) -> String {
    let within = |file: &str| needs[file].iter().copied().filter(|other| circle.contains(other)).collect::<Vec<_>>();
    let first = circle.first().copied().unwrap_or_default();
    let (mut ways, mut seen) = (VecDeque::from([vec![first]]), BTreeSet::new());
    let mut chain = Vec::new();
    while let Some(way) = ways.pop_front() {
        let here = way.last().copied().unwrap_or_default();
        if here == first && way.len() > 1 {
            chain = way;
            break;
        }
        ways.extend(
            within(here).into_iter().filter(|other| seen.insert(*other)).map(|other| [&way[..], &[other]].concat()),
        );
    }
    let arrows: Vec<_> = circle.iter().map(|file| format!("  {file} -> {}", within(file).join(", "))).collect();
    format!("{} files in a circle: {}\n{}", circle.len(), chain.join(" -> "), arrows.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: (&str, &str) = ("lib.rs", "mod room;");
    const FACADE: (&str, &str) =
        ("room/mod.rs", "mod left; mod right; mod third; pub(super) use self::{left::Left, right::Right};");
    const LEFT: (&str, &str) = ("room/left.rs", "use super::Right; pub(super) struct Left(Right);");
    const RIGHT: (&str, &str) = ("room/right.rs", "use super::third; pub(super) fn right() { third::call() }");
    const THIRD: (&str, &str) = ("room/third.rs", "pub(super) fn call() -> crate::room::Left { unreachable!() }");

    fn complaints(files: &[(&str, &str)]) -> Vec<String> {
        Crate::of(files.iter().copied()).unwrap().complaints()
    }

    /// The rule is no rule if nothing breaks it.
    #[test]
    fn a_circle_is_found_through_the_facade() {
        let found = "3 files in a circle: room/left.rs -> room/right.rs -> room/third.rs -> room/left.rs\n  \
                     room/left.rs -> room/right.rs\n  room/right.rs -> room/third.rs\n  room/third.rs -> room/left.rs";
        let files = [ROOT, FACADE, LEFT, RIGHT, THIRD];
        assert_eq!(complaints(&files), [found]);
    }

    #[test]
    fn what_a_mod_rs_defines_itself_is_needed_of_it() {
        let facade = ("room/mod.rs", "mod left; pub struct Right(left::Left);");
        let found = complaints(&[ROOT, facade, LEFT]);
        assert_eq!(
            found,
            ["2 files in a circle: room/left.rs -> room/mod.rs -> room/left.rs\n  \
                           room/left.rs -> room/mod.rs\n  room/mod.rs -> room/left.rs"]
        );
        // Also if it re-exports what it uses.
        let facade = ("room/mod.rs", "mod left; pub use left::Left; pub struct Right(Left);");
        assert_eq!(complaints(&[ROOT, facade, LEFT]), found);
    }

    #[test]
    fn comments_tests_and_visibilities_need_nothing() {
        for harmless in [
            "// use crate::room::Left;\n/* crate::room::Left */\n/// [`crate::room::Left`]\nconst A: &str = \"crate::room::Left\";",
            "#[cfg(test)]\nmod tests {\n    use crate::room::Left;\n}",
            "#[cfg(test)]\nuse crate::room::{Left, Right};\n#[cfg(test)]\nfn made() -> Left { crate::room::Left }",
            "pub(in crate::room) struct Here { pub(in crate::room) left: u8 }\nfn f(x: X) { x.Left; }",
            // Handed on, not used.
            "pub use crate::room::Left;",
            // Of another crate, and of its own.
            "use ::room::Left; fn f() -> ::room::Left { <u8 as Other>::room::<u8>() }",
            "use room::Left; use other::{self, room::Right}; fn f() { other::Left; Left::new(); Self::Left; }",
        ] {
            assert_eq!(
                complaints(&[ROOT, FACADE, LEFT, RIGHT, ("room/third.rs", harmless)]),
                Vec::<String>::new(),
                "{harmless}"
            );
        }
        let facade = (
            "room/mod.rs",
            "mod left; mod right; #[cfg(test)] mod third; pub(super) use self::{left::Left, right::Right};",
        );
        assert_eq!(complaints(&[ROOT, facade, LEFT, RIGHT, THIRD]), Vec::<String>::new());
    }

    #[test]
    fn two_files_need_a_reason_which_is_given_and_true() {
        let facade = ("room/mod.rs", "mod left; mod right;");
        let of =
            |left: &str, right: &str| complaints(&[ROOT, facade, ("room/left.rs", left), ("room/right.rs", right)]);
        let (left, right) = ("use super::right::Right;", "use super::left::Left;");
        let unexplained = "2 files in a circle: room/left.rs -> room/right.rs -> room/left.rs\n  \
                           room/left.rs -> room/right.rs\n  room/right.rs -> room/left.rs";
        assert_eq!(of(left, right), [unexplained]);
        let explained = |other: &str, why: &str, code: &str| format!("// circle: {other}:{why}\n{code}");
        assert!(of(&explained("room/right.rs", " both are halves.", left), right).is_empty());
        assert!(of(left, &explained("room/left.rs", " both are halves.", right)).is_empty());
        assert_eq!(
            of(&explained("room/right.rs", "", left), right),
            ["room/left.rs: no reason is given for the circle with room/right.rs"]
        );
        assert_eq!(
            of(&explained("room/right.rs", " both are halves.", left), ""),
            ["room/left.rs: there is no circle with room/right.rs"]
        );
        assert_eq!(
            of(&explained("lib.rs", " it is the root.", left), right),
            [unexplained, "room/left.rs: there is no circle with lib.rs"]
        );
    }

    #[test]
    fn a_glob_is_refused() {
        let error = Crate::of([ROOT, FACADE, ("room/left.rs", "use super::right::*;")]).err().unwrap();
        assert_eq!(error.to_string(), "room/left.rs: a glob hides what it imports from super::right::*");
    }
}
