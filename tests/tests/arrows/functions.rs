//! Functions that are short, and whose calls can be read: no longer than a screen, with four parameters at most, each of
//! which has a noun for its type.
//!
//! A parameter that is a tuple hides how many there are, and what each is. A boolean can be read at the call where it is
//! the only one (`keep_all(true)`), and nowhere else. What a trait of another crate demands is as it is: signatures in
//! `impl Trait for Type` are looked at where our traits are declared.

use std::fmt;

use anyhow::Result;

use super::tokens::{Token, tokens};

/// Lines of a function, from its name to the bracket that closes it.
const LINES_MAX: usize = 50;
/// Parameters beside `self`.
const PARAMETERS_MAX: usize = 4;

/// What is wrong with a function, by its name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Complaint {
    Long { name: String, lines: usize },
    Parameters { name: String, count: usize },
    Tuple { name: String },
    Boolean { name: String },
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Long { name, lines } => write!(f, "{name} has {lines} lines, and {LINES_MAX} at most"),
            Self::Parameters { name, count } => {
                write!(f, "{name} has {count} parameters, and {PARAMETERS_MAX} at most")
            }
            Self::Tuple { name } => write!(f, "{name} takes a tuple"),
            Self::Boolean { name } => write!(f, "{name} takes a boolean beside other parameters"),
        }
    }
}

/// What is wrong with the functions of a file, but for those of tests.
///
/// # Errors
/// If that is no Rust.
pub(crate) fn complaints(text: &str) -> Result<Vec<Complaint>> {
    let mut complaints = lengths(text);
    look_at(&tokens(text)?, &mut complaints);
    Ok(complaints)
}

/// Functions that are too long. rustfmt puts what closes a function under what opens it, and nothing else is there.
fn lengths(text: &str) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    let mut lines = text.lines().enumerate();
    // What is open, innermost last: how far it is indented, its name, and where it begins.
    let mut open: Vec<(usize, &str, usize)> = Vec::new();
    while let Some((at, line)) = lines.next() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        if code == "#[cfg(test)]" {
            let is_end = |line: &str| line.len() - line.trim_start().len() == indent && line.ends_with(['}', ';', ',']);
            lines.find(|(_, line)| is_end(line));
            continue;
        }
        if code == "}" {
            open.retain(|(opened, ..)| *opened <= indent);
        }
        if code == "}"
            && let Some(&(_, name, begin)) = open.last().filter(|(opened, ..)| *opened == indent)
        {
            open.pop();
            let lines = at - begin + 1;
            complaints.extend((lines > LINES_MAX).then(|| Complaint::Long { name: name.to_owned(), lines }));
        } else if let Some(name) = name_of(code).filter(|_| !line.ends_with(['}', ';'])) {
            open.push((indent, name, at));
        } else if code.starts_with(')') && code.ends_with(';') {
            // Only declared.
            open.pop_if(|(opened, ..)| *opened == indent);
        }
    }
    complaints
}

/// The name of the function that begins on a line.
fn name_of(code: &str) -> Option<&str> {
    let (before, after) = code.split_once("fn ")?;
    let is_word_of_it = |word: &str| ["async", "const", "default", "extern", "unsafe", "in"].contains(&word);
    let is_path = |word: &str| word.starts_with("pub") || word.ends_with(')') || word.starts_with('"');
    before.split_whitespace().all(|word| is_word_of_it(word) || is_path(word)).then_some(())?;
    after.split(['(', '<']).next().filter(|name| !name.is_empty())
}

/// Goes through the signatures in `tokens`, and in what is within.
fn look_at(mut tokens: &[Token], complaints: &mut Vec<Complaint>) {
    while let [token, after @ ..] = tokens {
        tokens = match token {
            Token::Mark('#') if is_for_tests(after) => behind_item(&after[1..]),
            Token::Word(word) if word == "impl" && is_of_a_trait(after) => behind_block(after),
            Token::Word(word) if word == "fn" => {
                if let Some((name, parameters)) = signature(after) {
                    judge(name, parameters, complaints);
                }
                after
            }
            Token::Group(_, inside) => {
                look_at(inside, complaints);
                after
            }
            Token::Word(_) | Token::Mark(_) => after,
        };
    }
}

/// Whether what follows a `#` is `[cfg(test)]` or `[test]`.
fn is_for_tests(after: &[Token]) -> bool {
    let Some(Token::Group('[', attribute)) = after.first() else { return false };
    match &attribute[..] {
        [only] => only.is_word("test"),
        [cfg, Token::Group('(', condition)] => {
            cfg.is_word("cfg") && matches!(&condition[..], [only] if only.is_word("test"))
        }
        _ => false,
    }
}

/// Whether an `impl` block, which begins here, is of a trait. `for<'a>` is a type's.
fn is_of_a_trait(block: &[Token]) -> bool {
    let head = block.iter().position(is_braced).unwrap_or(block.len());
    let is_for = |pair: &[Token]| pair[0].is_word("for") && !pair[1].is_mark('<');
    block[..head].windows(2).any(is_for)
}

fn behind_block(block: &[Token]) -> &[Token] {
    block.iter().position(is_braced).map_or(&[], |head| &block[head + 1..])
}

fn is_braced(token: &Token) -> bool {
    matches!(token, Token::Group('{', _))
}

fn behind_item(item: &[Token]) -> &[Token] {
    let is_end = |token: &Token| matches!(token, Token::Group('{', _) | Token::Mark(';' | ','));
    item.iter().position(is_end).map_or(&[], |end| &item[end + 1..])
}

/// The name and the parameters of a function whose `fn` is before these tokens; none of a type.
fn signature(tokens: &[Token]) -> Option<(&str, &[Token])> {
    let [Token::Word(name), after @ ..] = tokens else { return None };
    let parameters = after.get(length_of_generics(after)..)?.first()?;
    match parameters {
        Token::Group('(', parameters) => Some((name, parameters)),
        _ => None,
    }
}

/// How many tokens stand in the angle brackets that these begin with, these included.
fn length_of_generics(tokens: &[Token]) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        let is_arrow = at > 0 && tokens[at - 1].is_mark('-');
        match token {
            Token::Mark('<') => depth += 1,
            Token::Mark('>') if !is_arrow => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return if at == 0 { 0 } else { at + 1 };
        }
    }
    0
}

fn judge(name: &str, parameters: &[Token], complaints: &mut Vec<Complaint>) {
    let is_self = |parameter: &&[Token]| without_reference(parameter).first().is_some_and(|name| name.is_word("self"));
    let parameters: Vec<_> = split(parameters).into_iter().filter(|parameter| !is_self(parameter)).collect();
    let name = || name.to_owned();
    let count = parameters.len();
    complaints.extend((count > PARAMETERS_MAX).then(|| Complaint::Parameters { name: name(), count }));
    let types: Vec<_> = parameters.into_iter().filter_map(type_of).collect();
    let is_tuple = |of: &[Token]| matches!(of, [Token::Group('(', inside)] if split(inside).len() > 1);
    complaints.extend(types.iter().any(|of| is_tuple(of)).then(|| Complaint::Tuple { name: name() }));
    let is_boolean = |of: &[Token]| matches!(of, [only] if only.is_word("bool"));
    let is_unclear = count > 1 && types.iter().any(|of| is_boolean(of));
    complaints.extend(is_unclear.then(|| Complaint::Boolean { name: name() }));
}

/// What commas divide, but for those in angle brackets.
fn split(tokens: &[Token]) -> Vec<&[Token]> {
    let (mut parts, mut begin, mut depth) = (Vec::new(), 0, 0_usize);
    for (at, token) in tokens.iter().enumerate() {
        let is_arrow = at > 0 && tokens[at - 1].is_mark('-');
        match token {
            Token::Mark('<') => depth += 1,
            Token::Mark('>') if !is_arrow => depth = depth.saturating_sub(1),
            Token::Mark(',') if depth == 0 => {
                parts.push(&tokens[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&tokens[begin..]);
    parts.retain(|part| !part.is_empty());
    parts
}

/// A parameter's type, behind the colon that is not one of two; what it refers to, if it is a reference.
fn type_of(parameter: &[Token]) -> Option<&[Token]> {
    let is_colon = |at: usize| parameter.get(at).is_some_and(|token| token.is_mark(':'));
    let colon = (0..parameter.len()).find(|&at| is_colon(at) && !is_colon(at + 1) && (at == 0 || !is_colon(at - 1)))?;
    Some(without_reference(&parameter[colon + 1..]))
}

fn without_reference(tokens: &[Token]) -> &[Token] {
    let begin = tokens.iter().position(|token| !token.is_mark('&') && !token.is_word("mut"));
    &tokens[begin.unwrap_or(tokens.len())..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        complaints(text).unwrap().iter().map(Complaint::to_string).collect()
    }

    /// The rule is no rule if nothing breaks it.
    #[test]
    fn what_is_wrong_is_said() {
        for (text, expected) in [
            ("fn f(a: A, b: B, c: C, d: D, e: E) {}", "f has 5 parameters, and 4 at most"),
            ("impl A { pub(super) async fn f((a, b): (A, B)) {} }", "f takes a tuple"),
            ("fn f<'a, T: Fn() -> A>(&self, a: &'a mut (A, B)) {}", "f takes a tuple"),
            ("trait A { fn f(&self, a: bool, b: B); }", "f takes a boolean beside other parameters"),
            ("fn f() { fn g(a: A, b: bool) {} }", "g takes a boolean beside other parameters"),
        ] {
            assert_eq!(said(text), [expected], "{text}");
        }
        let long = format!(
            "    pub(in crate::a) fn f(\n        a: A,\n    ) -> B {{\n{}    }}\n",
            "        a();\n".repeat(47)
        );
        assert_eq!(said(&format!("impl A {{\n{long}}}\n")), ["f has 51 lines, and 50 at most"]);
    }

    #[test]
    fn what_is_right_is_let_be() {
        let short = format!("fn f() {{\n{}}}\n", "    a();\n".repeat(48));
        let tested = format!("#[cfg(test)]\nmod tests {{\n    fn f() {{\n{}    }}\n}}\n", "        a();\n".repeat(60));
        let many = "trait A {\n    fn f(\n        a: A,\n    );\n".to_owned() + &"    fn g();\n".repeat(60) + "}\n";
        for text in [
            "fn f(&mut self, a: A, b: &B<C, D>, c: impl Fn(A, B, C) -> D, d: [(A, B); 2]) {}",
            "fn f(self: &Arc<Self>, A { b, c }: A, d: &(dyn D + 'static), e: ()) {}",
            "fn set(&mut self, yes: bool) {}",
            "impl<'a, C> A<C> for B<'a> { fn f(a: A, b: bool, (c, d): (C, D), e: E, f: F) {} }",
            "#[cfg(test)]\nmod tests { fn f(a: A, b: bool) {} }",
            "struct A { f: fn(A, bool, (B, C), D, E) }",
            &short,
            &tested,
            &many,
        ] {
            assert_eq!(said(text), Vec::<String>::new(), "{text}");
        }
    }
}
