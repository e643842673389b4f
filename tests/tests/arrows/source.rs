//! What a source file imports and names, read from its tokens: comments and strings are none, and what is compiled for
//! tests alone is left out.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::tokens::{Token, tokens};

/// A path, segment by segment. What a glob imports is called `*`; where a path begins with `::`, its first segment is
/// empty.
pub(crate) type Segments = Vec<String>;

/// What a source file says of others.
#[derive(Default)]
pub(crate) struct Source {
    imports: Vec<Import>,
    paths: Vec<Segments>,
    test_modules: Vec<String>,
}

/// One name that a `use` brings in.
pub(crate) struct Import {
    pub(crate) name: String,
    pub(crate) path: Segments,
    /// Whether others can have it from here: a re-export.
    pub(crate) is_public: bool,
}

impl Source {
    /// Reads a file's text.
    ///
    /// # Errors
    /// If that is no Rust.
    pub(crate) fn read(text: &str) -> Result<Self> {
        let mut source = Self::default();
        source.read_tokens(&tokens(text)?);
        Ok(source)
    }

    /// All that is brought in by `use`, wherever in the file.
    pub(crate) fn imports(&self) -> &[Import] {
        &self.imports
    }

    /// The import of this name.
    pub(crate) fn import(&self, name: &str) -> Option<&Import> {
        self.imports.iter().find(|import| import.name == name)
    }

    /// All paths in code, as they stand there; a name by itself is a path of one segment.
    pub(crate) fn paths(&self) -> &[Segments] {
        &self.paths
    }

    /// Files that it has compiled for tests alone, by their modules' names.
    pub(crate) fn test_modules(&self) -> &[String] {
        &self.test_modules
    }

    fn read_tokens(&mut self, tokens: &[Token]) {
        let (mut rest, mut is_public, mut before) = (tokens, false, Before::default());
        while let [token, after @ ..] = rest {
            rest = match token {
                Token::Mark('#') if is_for_tests(after) => self.skip_item(&after[1..]),
                Token::Word(word) if word == "pub" => {
                    is_public = true;
                    rest = after_visibility(after);
                    continue;
                }
                // `use<..>` of a type lists what it captures.
                Token::Word(word) if word == "use" && !after.first().is_some_and(|next| next.is_mark('<')) => {
                    self.read_use(after, is_public)
                }
                Token::Word(_) => self.read_path(rest, before),
                Token::Group(_, inside) => {
                    self.read_tokens(inside);
                    after
                }
                Token::Mark(_) => after,
            };
            (is_public, before) = (false, before.then(token));
        }
    }

    /// Passes over an item that is for tests; the tokens after it.
    fn skip_item<'t>(&mut self, item: &'t [Token]) -> &'t [Token] {
        if let [word, Token::Word(name), Token::Mark(';'), ..] = item
            && word.is_word("mod")
        {
            self.test_modules.push(name.clone());
        }
        let is_end = |token: &Token| matches!(token, Token::Group('{', _) | Token::Mark(';' | ','));
        item.iter().position(is_end).map_or(&[], |end| &item[end + 1..])
    }

    fn read_use<'t>(&mut self, tree: &'t [Token], is_public: bool) -> &'t [Token] {
        let end = tree.iter().position(|token| token.is_mark(';')).unwrap_or(tree.len());
        self.add_branch(&tree[..end], Segments::new(), is_public);
        &tree[end..]
    }

    /// `a::{b, c::{d, e as f}}` is `a::b`, `a::c::d` and `a::c::e`.
    fn add_branch(&mut self, branch: &[Token], stem: Segments, is_public: bool) {
        let (mut path, mut renamed) = (stem, None);
        let mut tokens = branch.iter();
        if path.is_empty() && branch.first().is_some_and(|first| first.is_mark(':')) {
            path.push(String::new());
        }
        while let Some(token) = tokens.next() {
            match token {
                Token::Word(word) if word == "as" => {
                    renamed = tokens.next().and_then(|token| match token {
                        Token::Word(name) => Some(name.clone()),
                        _ => None,
                    });
                }
                Token::Word(word) => path.push(word.clone()),
                Token::Mark('*') => path.push("*".to_owned()),
                Token::Mark(_) => {}
                Token::Group(_, inside) => {
                    let branches = inside.split(|token| token.is_mark(',')).filter(|branch| !branch.is_empty());
                    branches.for_each(|branch| self.add_branch(branch, path.clone(), is_public));
                    return;
                }
            }
        }
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let name = renamed.or_else(|| path.last().cloned()).unwrap_or_default();
        self.imports.push(Import { name, path, is_public });
    }

    /// Takes in the path at the beginning of `tokens`; the tokens after it. After a dot a name is a field's or a method's.
    fn read_path<'t>(&mut self, mut tokens: &'t [Token], before: Before) -> &'t [Token] {
        let mut path = Segments::new();
        if before.colons >= 2 {
            path.push(String::new());
        }
        while let [Token::Word(word), after @ ..] = tokens {
            path.push(word.clone());
            tokens = after;
            match after {
                [Token::Mark(':'), Token::Mark(':'), next @ ..] => tokens = next,
                _ => break,
            }
        }
        if path.len() > 1 || !before.is_dot {
            self.paths.push(path);
        }
        tokens
    }
}

/// The marks that stand before a token.
#[derive(Clone, Copy, Default)]
struct Before {
    colons: usize,
    is_dot: bool,
}

impl Before {
    fn then(self, token: &Token) -> Self {
        let colons = if token.is_mark(':') { self.colons + 1 } else { 0 };
        Self { colons, is_dot: token.is_mark('.') }
    }
}

/// The source files in a folder and below it, without those of tests; a file is itself.
///
/// # Errors
/// If a folder cannot be read.
pub(crate) fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    if folder.is_file() {
        return Ok(vec![folder.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("tests") {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
    Ok(found)
}

/// Whether what follows a `#` is `[cfg(test)]`.
fn is_for_tests(after: &[Token]) -> bool {
    let Some(Token::Group('[', attribute)) = after.first() else { return false };
    let [cfg, Token::Group('(', condition)] = &attribute[..] else { return false };
    cfg.is_word("cfg") && matches!(&condition[..], [only] if only.is_word("test"))
}

/// What comes after the parentheses that may follow a `pub`: `(super)` and `(in crate::edge)` name no other file. In a
/// tuple they may hold a type, which may begin with the same words but goes on.
fn after_visibility(after: &[Token]) -> &[Token] {
    let [Token::Group('(', inside), rest @ ..] = after else { return after };
    match &inside[..] {
        [only] if ["crate", "self", "super"].iter().any(|word| only.is_word(word)) => rest,
        [first, ..] if first.is_word("in") => rest,
        _ => after,
    }
}
