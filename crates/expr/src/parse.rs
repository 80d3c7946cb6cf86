//! From tokens to an expression.

use crate::ast::{Expr, Literal, Path};
use crate::check::DEPTH_MAX;
use crate::lexer::{Keyword, Lexer, Token};
use crate::span::Span;

/// The longest text of an expression, in bytes.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// Reads the text of an expression.
///
/// Words of the language may be in upper or lower case. NOT binds tightest, then AND, then OR.
///
/// # Errors
///
/// [`ParseError`] with the place of the first thing that does not belong there; also if the text is longer than
/// [`TEXT_BYTES_MAX`] or nests deeper than [`DEPTH_MAX`].
///
/// ```
/// # use reconvene_expr::{CompareOp, Expr, Literal, Path, parse};
/// let expr = parse("stars >= 4")?;
/// assert_eq!(expr, Expr::Compare { path: Path::property("stars"), op: CompareOp::Ge, value: Literal::Int(4) });
/// assert_eq!(parse("not (done == true or title ^= 'a')")?.to_string(), r#"NOT (done == true OR title ^= "a")"#);
/// # Ok::<(), reconvene_expr::ParseError>(())
/// ```
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    let parsed = match text.len() {
        0..=TEXT_BYTES_MAX => Parser::new(text).and_then(Parser::whole),
        bytes => Err((ParseErrorKind::TooLong { bytes }, Span::default())),
    };
    parsed.map_err(|(kind, span)| {
        let (line, column) = span.position(text);
        ParseError { kind, span, line, column }
    })
}

/// Why a text is no expression, and where that shows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {kind}")]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// Where in the text.
    pub span: Span,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl ParseError {
    /// The message, and below it the line of `text`, which must be the one that was parsed, with carets under the place.
    ///
    /// ```
    /// # use reconvene_expr::parse;
    /// let text = "done = true";
    /// assert_eq!(
    ///     parse(text).unwrap_err().render(text),
    ///     "line 1, column 6: `=` is no operator; equality is written `==`\ndone = true\n     ^",
    /// );
    /// ```
    pub fn render(&self, text: &str) -> String {
        format!("{self}\n{}", self.span.carets(text))
    }
}

/// The kinds of [`ParseError`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// Something else would have to stand here.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What may stand here.
        expected: &'static str,
        /// What does.
        found: String,
    },
    /// There is nothing but spaces.
    #[error("the expression is empty; for all objects write `true`")]
    Empty,
    /// A sign that other languages have.
    #[error("`{found}` is no operator; {instead}")]
    Foreign {
        /// The sign.
        found: String,
        /// What to write instead.
        instead: &'static str,
    },
    /// A character that begins nothing.
    #[error("the character {found:?} has no meaning here; text stands in quotes, unusual names in backticks")]
    Character {
        /// The character.
        found: char,
    },
    /// Digits that run into letters.
    #[error(
        "`{found}` is neither a number nor a name; text stands in quotes, names that begin with a digit in backticks"
    )]
    Number {
        /// The digits with the letters.
        found: String,
    },
    /// A number that no property can hold.
    #[error("the number {found} is out of range: whole numbers have 64 bits, others lie within 1.8e308")]
    NumberRange {
        /// The number.
        found: String,
    },
    /// Text or a name has no end.
    #[error("the closing {quote} is missing")]
    Unclosed {
        /// The quote that began it.
        quote: char,
    },
    /// A backslash before something that it cannot stand before.
    #[error(
        "unknown escape; there are \\\\ \\\" \\' \\` \\/ \\n \\r \\t and \\u{{...}} with the code point in hexadecimal"
    )]
    Escape,
    /// Parentheses and NOT nest deeper than [`DEPTH_MAX`].
    #[error(
        "parentheses and NOT nest more than {DEPTH_MAX} deep; write the expression flatter, or as several queries"
    )]
    TooDeep,
    /// The text is longer than [`TEXT_BYTES_MAX`].
    #[error("the expression has {bytes} bytes, more than {TEXT_BYTES_MAX}; split it into several queries")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

type Failure = (ParseErrorKind, Span);

struct Parser<'t> {
    lexer: Lexer<'t>,
    /// The token that is looked at next.
    token: Token,
    span: Span,
    text: &'t str,
    depth_left: usize,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Result<Self, Failure> {
        let mut lexer = Lexer::new(text);
        let (token, span) = lexer.next()?;
        if token == Token::End {
            return Err((ParseErrorKind::Empty, span));
        }
        Ok(Parser { lexer, token, span, text, depth_left: DEPTH_MAX })
    }

    fn whole(mut self) -> Result<Expr, Failure> {
        let expr = self.any()?;
        match self.token {
            Token::End => Ok(expr),
            _ => Err(self.expected("AND, OR or the end")),
        }
    }

    fn any(&mut self) -> Result<Expr, Failure> {
        self.joined(Keyword::Or, Self::all, Expr::Or)
    }

    fn all(&mut self) -> Result<Expr, Failure> {
        self.joined(Keyword::And, Self::one, Expr::And)
    }

    fn joined(
        &mut self,
        word: Keyword,
        part: fn(&mut Self) -> Result<Expr, Failure>,
        join: fn(Vec<Expr>) -> Expr,
    ) -> Result<Expr, Failure> {
        let first = part(self)?;
        if self.token != Token::Keyword(word) {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.token == Token::Keyword(word) {
            self.advance()?;
            parts.push(part(self)?);
        }
        Ok(join(parts))
    }

    fn one(&mut self) -> Result<Expr, Failure> {
        match &self.token {
            Token::Keyword(Keyword::Not) => self.nested(|parser| {
                parser.advance()?;
                Ok(Expr::Not(Box::new(parser.one()?)))
            }),
            Token::Open => self.nested(|parser| {
                parser.advance()?;
                let inner = parser.any()?;
                match parser.token {
                    Token::Close => parser.advance().map(|_| inner),
                    _ => Err(parser.expected("AND, OR or `)`")),
                }
            }),
            Token::Keyword(Keyword::True) => self.advance().map(|()| Expr::All),
            Token::Keyword(Keyword::False) => self.advance().map(|()| Expr::Not(Box::new(Expr::All))),
            _ => self.comparison(),
        }
    }

    fn nested(&mut self, inner: impl FnOnce(&mut Self) -> Result<Expr, Failure>) -> Result<Expr, Failure> {
        self.depth_left = self.depth_left.checked_sub(1).ok_or((ParseErrorKind::TooDeep, self.span))?;
        let expr = inner(self)?;
        self.depth_left += 1;
        Ok(expr)
    }

    fn comparison(&mut self) -> Result<Expr, Failure> {
        let Token::Name(name) = &mut self.token else {
            return Err(self.expected("the name of a property, NOT or `(`"));
        };
        let path = Path::at(std::mem::take(name), self.span);
        self.advance()?;
        let no_case = self.token == Token::Keyword(Keyword::InNoCase);
        match self.token {
            Token::Op(op) => {
                self.advance()?;
                Ok(Expr::Compare { path, op, value: self.literal()? })
            }
            Token::Keyword(Keyword::In | Keyword::InNoCase) => {
                self.advance()?;
                Ok(Expr::In { path, values: self.list()?, no_case })
            }
            _ => Err(self.expected("an operator after the property, as in `done == true`")),
        }
    }

    fn list(&mut self) -> Result<Vec<Literal>, Failure> {
        let (close, expected) = match self.token {
            Token::Open => (Token::Close, "`,` or `)`"),
            Token::OpenList => (Token::CloseList, "`,` or `]`"),
            _ => return Err(self.expected("a list in parentheses, as in `(1, 2)`")),
        };
        self.advance()?;
        let mut values = Vec::new();
        while self.token != close {
            values.push(self.literal()?);
            if self.token == Token::Comma {
                self.advance()?;
            } else if self.token != close {
                return Err(self.expected(expected));
            }
        }
        self.advance()?;
        Ok(values)
    }

    fn literal(&mut self) -> Result<Literal, Failure> {
        let start = self.span;
        let negative = self.token == Token::Minus;
        if negative {
            self.advance()?;
        }
        let literal = match &mut self.token {
            Token::Integer(number) => {
                let number = if negative { -i128::from(*number) } else { i128::from(*number) };
                match (i64::try_from(number), u64::try_from(number)) {
                    (Ok(number), _) => Literal::Int(number),
                    (_, Ok(number)) => Literal::UInt(number),
                    _ => {
                        let span = Span { start: start.start, end: self.span.end };
                        return Err((ParseErrorKind::NumberRange { found: number.to_string() }, span));
                    }
                }
            }
            Token::Double(number) => Literal::Double(if negative { -*number } else { *number }),
            Token::Name(name) if name.eq_ignore_ascii_case("inf") => {
                Literal::Double(if negative { f64::NEG_INFINITY } else { f64::INFINITY })
            }
            _ if negative => return Err(self.expected("a number after `-`")),
            Token::Name(name) if name.eq_ignore_ascii_case("nan") => Literal::Double(f64::NAN),
            Token::Text(text) => Literal::String(std::mem::take(text)),
            Token::Keyword(Keyword::Null) => Literal::Null,
            Token::Keyword(Keyword::True) => Literal::Bool(true),
            Token::Keyword(Keyword::False) => Literal::Bool(false),
            Token::Name(_) => return Err(self.expected("a value (text stands in quotes)")),
            _ => return Err(self.expected("a value")),
        };
        self.advance()?;
        Ok(literal)
    }

    /// Goes on to the next token.
    fn advance(&mut self) -> Result<(), Failure> {
        (self.token, self.span) = self.lexer.next()?;
        Ok(())
    }

    fn expected(&self, expected: &'static str) -> Failure {
        const FOUND_CHARS_MAX: usize = 40;
        let found = match self.text.get(self.span.start..self.span.end) {
            None | Some("") => "the end".to_owned(),
            Some(found) if found.chars().count() > FOUND_CHARS_MAX => {
                format!("`{}...`", found.chars().take(FOUND_CHARS_MAX).collect::<String>())
            }
            Some(found) => format!("`{found}`"),
        };
        (ParseErrorKind::Expected { expected, found }, self.span)
    }
}
