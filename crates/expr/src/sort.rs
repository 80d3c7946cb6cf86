//! The order of results: by which paths, and how.

use std::fmt;

use crate::lexer::Token;
use crate::parse::{Failure, ParseError, Parser, parse_with};
use crate::path::{Aspect, Path};

/// One part of an order: by what, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Sort {
    /// By what.
    pub path: Path,
    /// Whether the largest value comes first.
    pub descending: bool,
    /// Whether upper and lower case count as equal.
    pub no_case: bool,
    /// Where null comes.
    pub nulls: Nulls,
}

/// Where null comes in an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Nulls {
    /// As if it were the smallest value: first, and last if the order is descending.
    #[default]
    Smallest,
    /// First.
    First,
    /// Last.
    Last,
}

impl Sort {
    /// By the values of a path, the smallest first.
    pub fn by(path: Path) -> Self {
        Sort { path, descending: false, no_case: false, nulls: Nulls::Smallest }
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)?;
        f.write_str(if self.descending { " DESC" } else { "" })?;
        f.write_str(if self.no_case { " NOCASE" } else { "" })?;
        f.write_str(match self.nulls {
            Nulls::Smallest => "",
            Nulls::First => " NULLS FIRST",
            Nulls::Last => " NULLS LAST",
        })
    }
}

/// Reads the text of an order: paths with commas between them, each followed by `ASC` or `DESC`, `NOCASE`, and
/// `NULLS FIRST` or `NULLS LAST`, as far as needed.
///
/// # Errors
///
/// As [`parse`](crate::parse).
///
/// ```
/// # use reconvene_expr::parse_sort;
/// let sorts = parse_sort("stars desc nulls last, project.name nocase")?;
/// assert_eq!((sorts.len(), sorts[0].descending), (2, true));
/// assert_eq!(sorts[1].to_string(), "project.name NOCASE");
/// # Ok::<(), reconvene_expr::ParseError>(())
/// ```
pub fn parse_sort(text: &str) -> Result<Vec<Sort>, ParseError> {
    parse_with(text, |mut parser| {
        let mut sorts = vec![sort(&mut parser)?];
        while parser.token == Token::Comma {
            parser.advance()?;
            sorts.push(sort(&mut parser)?);
        }
        match parser.token {
            Token::End => Ok(sorts),
            _ => Err(parser.expected("`,`, ASC, DESC, NOCASE, NULLS FIRST, NULLS LAST or the end")),
        }
    })
}

fn sort(parser: &mut Parser<'_>) -> Result<Sort, Failure> {
    let mut sort = Sort::by(parser.path(Aspect::Value)?);
    sort.descending = word(parser, "desc")?;
    if !sort.descending {
        word(parser, "asc")?;
    }
    sort.no_case = word(parser, "nocase")?;
    if word(parser, "nulls")? {
        sort.nulls = match () {
            () if word(parser, "first")? => Nulls::First,
            () if word(parser, "last")? => Nulls::Last,
            () => return Err(parser.expected("FIRST or LAST")),
        };
    }
    Ok(sort)
}

/// Goes past a word, if it stands here.
fn word(parser: &mut Parser<'_>, word: &str) -> Result<bool, Failure> {
    let stands = matches!(&parser.token, Token::Word(other) if other.eq_ignore_ascii_case(word));
    if stands {
        parser.advance()?;
    }
    Ok(stands)
}
