//! Rust's tokens, as far as imports and paths have to be told from all else.
//!
//! Not by `proc-macro2`: all derives depend on it, and where a package of the workspace does too, cargo compiles it, them
//! and what uses them in another way than for the router alone. Each change between the two would compile everything.

use anyhow::{Context, Result, bail, ensure};

/// A token; comments are none, and literals and lifetimes are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A name or a keyword.
    Word(String),
    /// One character: `::` is two marks.
    Mark(char),
    /// What stands in brackets, which are named by the one that opens.
    Group(char, Vec<Token>),
}

impl Token {
    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Word(this) if this == word)
    }

    pub(crate) fn is_mark(&self, mark: char) -> bool {
        matches!(self, Self::Mark(this) if *this == mark)
    }
}

/// The tokens of a source file.
///
/// # Errors
/// If brackets, strings or comments do not end, or end twice.
pub(crate) fn tokens(text: &str) -> Result<Vec<Token>> {
    let mut text = Text(text);
    let tokens = text.tokens()?;
    ensure!(text.0.is_empty(), "brackets are closed that are not open");
    Ok(tokens)
}

/// What is still to be read.
struct Text<'t>(&'t str);

impl Text<'_> {
    /// Those up to the bracket that closes, or to the end.
    fn tokens(&mut self) -> Result<Vec<Token>> {
        let mut tokens = Vec::new();
        loop {
            self.0 = self.0.trim_start();
            let Some(first) = self.0.chars().next() else { return Ok(tokens) };
            if self.skip_comment()? || self.skip_string()? || self.skip_quote()? {
                continue;
            }
            match first {
                ')' | ']' | '}' => return Ok(tokens),
                '(' | '[' | '{' => {
                    self.0 = &self.0[1..];
                    let inside = self.tokens()?;
                    let close = if first == '(' { ')' } else { char::from(first as u8 + 2) };
                    self.0 = self.0.strip_prefix(close).with_context(|| format!("{first} is not closed by {close}"))?;
                    tokens.push(Token::Group(first, inside));
                }
                _ if first.is_ascii_digit() => drop(self.word()),
                _ if is_of_word(first) => tokens.push(Token::Word(self.word())),
                mark => {
                    self.0 = &self.0[mark.len_utf8()..];
                    tokens.push(Token::Mark(mark));
                }
            }
        }
    }

    fn word(&mut self) -> String {
        let end = self.0.find(|letter| !is_of_word(letter)).unwrap_or(self.0.len());
        let word;
        (word, self.0) = self.0.split_at(end);
        word.to_owned()
    }

    fn skip_comment(&mut self) -> Result<bool> {
        if self.0.starts_with("//") {
            self.0 = self.0.split_once('\n').map_or("", |(_, after)| after);
            return Ok(true);
        }
        if !self.0.starts_with("/*") {
            return Ok(false);
        }
        let mut open = 0;
        loop {
            let (opens, closes) = (self.0.find("/*"), self.0.find("*/").context("a comment does not end")?);
            let is_opened = opens.is_some_and(|opens| opens < closes);
            open = if is_opened { open + 1 } else { open - 1 };
            self.0 = &self.0[2 + opens.filter(|_| is_opened).unwrap_or(closes)..];
            if open == 0 {
                return Ok(true);
            }
        }
    }

    /// Passes over a string, raw or not.
    fn skip_string(&mut self) -> Result<bool> {
        let after_kind = self.0.trim_start_matches(['b', 'c']);
        let kind = self.0.len() - after_kind.len();
        let after_raw = after_kind.strip_prefix('r');
        let body = after_raw.unwrap_or(after_kind);
        let hashes = body.len() - body.trim_start_matches('#').len();
        // `r#name` is a name, and so is one that ends in these letters.
        let Some(body) = body[hashes..].strip_prefix('"').filter(|_| kind < 2 && (after_raw.is_some() || hashes == 0))
        else {
            return Ok(false);
        };
        let end = match after_raw {
            Some(_) => body.find(&format!("\"{}", "#".repeat(hashes))).map(|at| at + 1 + hashes),
            None => end_of_quoted(body, '"'),
        };
        self.0 = &body[end.context("a string does not end")?..];
        Ok(true)
    }

    /// Passes over a character, or a lifetime.
    fn skip_quote(&mut self) -> Result<bool> {
        let Some(body) = self.0.strip_prefix('b').unwrap_or(self.0).strip_prefix('\'') else { return Ok(false) };
        let mut letters = body.chars();
        let (first, second) = (letters.next(), letters.next());
        if first == Some('\\') || second == Some('\'') {
            self.0 = &body[end_of_quoted(body, '\'').context("a character does not end")?..];
            return Ok(true);
        }
        match first {
            Some(letter) if is_of_word(letter) => {
                self.0 = body;
                drop(self.word());
                Ok(true)
            }
            _ => bail!("a quote that is none"),
        }
    }
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// Where `text` goes on after the quote that ends it.
fn end_of_quoted(text: &str, quote: char) -> Option<usize> {
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => drop(letters.next()),
            _ if letter == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a text, brackets and marks as they are.
    fn read(text: &str) -> String {
        fn print(tokens: &[Token]) -> String {
            let one = |token: &Token| match token {
                Token::Word(word) => word.clone(),
                Token::Mark(mark) => mark.to_string(),
                Token::Group(open, inside) => format!("{open} {} ", print(inside)).replace("  ", " "),
            };
            tokens.iter().map(one).collect::<Vec<_>>().join(" ")
        }
        print(&tokens(text).unwrap())
    }

    #[test]
    fn comments_and_literals_are_left_out() {
        assert_eq!(read("a // b\nc /* d /* e */ f */ g"), "a c g");
        assert_eq!(read(r####"a "b" b"c" c"d" r"e\" r#"f"g"# br##"h"#i"## j"####), "a j");
        assert_eq!(read(r#"a "b \" c" "\\" d"#), "a d");
        assert_eq!(read(r"a 'b' '\'' '\\' b'c' '/' '{' '\u{1f600}' '東' d"), "a d");
        assert_eq!(read("a<'b, 'static> 1_000u64 0x1f 2.5 c"), "a < , > . c");
        assert_eq!(read("crab car abc r#type"), "crab car abc r # type");
    }

    #[test]
    fn brackets_are_groups() {
        let word = |word: &str| Token::Word(word.to_owned());
        let inner = Token::Group('[', vec![word("b"), Token::Mark(':'), Token::Mark(':'), word("c")]);
        assert_eq!(
            tokens("(a[b::c]) {}").unwrap(),
            [Token::Group('(', vec![word("a"), inner]), Token::Group('{', vec![])]
        );
    }

    #[test]
    fn what_does_not_end_is_no_rust() {
        for (text, problem) in [
            ("(a", "( is not closed by )"),
            ("(a]", "( is not closed by )"),
            ("{a", "{ is not closed by }"),
            ("a)", "brackets are closed that are not open"),
            ("\"a", "a string does not end"),
            ("r#\"a\"", "a string does not end"),
            ("/* /* */", "a comment does not end"),
            ("'\\n", "a character does not end"),
        ] {
            assert_eq!(tokens(text).unwrap_err().to_string(), problem, "{text}");
        }
    }
}
