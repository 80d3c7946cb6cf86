//! From tokens to an expression.

use crate::ast::{Expr, Quantifier};
use crate::check::DEPTH_MAX;
use crate::lexer::{Keyword, Lexer, Token};
use crate::operand::{Literal, Operand, Parameter};
use crate::path::{Aspect, Path, Step, StepKey};
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
/// let value = Literal::Int(4).into();
/// assert_eq!(expr, Expr::Compare { path: Path::property("stars"), op: CompareOp::Ge, value });
/// assert_eq!(parse("not (done == true or title ^= 'a')")?.to_string(), r#"NOT (done == true OR title ^= "a")"#);
/// # Ok::<(), reconvene_expr::ParseError>(())
/// ```
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    parse_with(text, |parser| parser.whole())
}

/// Reads a text by one of the parser's rules.
pub(crate) fn parse_with<R>(
    text: &str,
    rule: impl FnOnce(Parser<'_>) -> Result<R, Failure>,
) -> Result<R, ParseError> {
    let parsed = match text.len() {
        0..=TEXT_BYTES_MAX => Parser::new(text).and_then(rule),
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

pub(crate) type Failure = (ParseErrorKind, Span);

/// The words that say how many of several things are meant, and of what the number is asked.
const ASPECTS: [(&str, Aspect); 4] = [
    ("any", Aspect::Elements(Quantifier::Any)),
    ("none", Aspect::Elements(Quantifier::None)),
    ("all", Aspect::Elements(Quantifier::All)),
    ("count", Aspect::Count),
];

pub(crate) struct Parser<'t> {
    lexer: Lexer<'t>,
    /// The token that is looked at next.
    pub(crate) token: Token,
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
            Token::Open => self.nested(Self::group),
            Token::Keyword(Keyword::True) => self.advance().map(|()| Expr::All),
            Token::Keyword(Keyword::False) => self.advance().map(|()| Expr::Not(Box::new(Expr::All))),
            _ => self.comparison(),
        }
    }

    /// An expression in parentheses, at whose opening one the parser stands.
    fn group(&mut self) -> Result<Expr, Failure> {
        self.advance()?;
        let inner = self.any()?;
        match self.token {
            Token::Close => self.advance().map(|()| inner),
            _ => Err(self.expected("AND, OR or `)`")),
        }
    }

    fn nested(&mut self, inner: impl FnOnce(&mut Self) -> Result<Expr, Failure>) -> Result<Expr, Failure> {
        self.depth_left = self.depth_left.checked_sub(1).ok_or((ParseErrorKind::TooDeep, self.span))?;
        let expr = inner(self)?;
        self.depth_left += 1;
        Ok(expr)
    }

    fn comparison(&mut self) -> Result<Expr, Failure> {
        let aspect = self.aspect()?;
        let path = self.path(aspect)?;
        if let (Aspect::Elements(which), Token::Open) = (aspect, &self.token) {
            let path = path.with_aspect(Aspect::Value);
            return self
                .nested(|parser| Ok(Expr::Linked { which, path, condition: Box::new(parser.group()?) }));
        }
        let negated = self.token == Token::Keyword(Keyword::Not);
        if negated {
            self.advance()?;
        }
        let no_case = self.token == Token::Keyword(Keyword::InNoCase);
        let expr = match &self.token {
            Token::Op(op) if !negated => {
                let op = *op;
                self.advance()?;
                Expr::Compare { path, op, value: self.operand()? }
            }
            Token::Keyword(Keyword::In | Keyword::InNoCase) => {
                self.advance()?;
                Expr::In { path, values: self.list()?, no_case }
            }
            Token::Word(word) if is_between(word) => {
                self.advance()?;
                let low = self.operand()?;
                if self.token != Token::Keyword(Keyword::And) {
                    return Err(self.expected("AND and the largest value, as in `BETWEEN 1 AND 5`"));
                }
                self.advance()?;
                Expr::Between { path, low, high: self.operand()? }
            }
            _ if negated => return Err(self.expected("IN or BETWEEN after NOT")),
            _ if matches!(aspect, Aspect::Elements(_)) => {
                return Err(self.expected("an operator or a condition in parentheses"));
            }
            _ => return Err(self.expected("an operator after the property, as in `done == true`")),
        };
        Ok(if negated { Expr::Not(Box::new(expr)) } else { expr })
    }

    /// What is asked of the value at the end of the path that follows. A word that says so is one only before a name, so
    /// that properties may be called like it.
    fn aspect(&mut self) -> Result<Aspect, Failure> {
        let Token::Word(word) = &self.token else { return Ok(Aspect::Value) };
        let aspect = ASPECTS.iter().find(|(other, _)| word.eq_ignore_ascii_case(other));
        let Some(&(_, aspect)) = aspect else { return Ok(Aspect::Value) };
        match self.lexer.clone().next() {
            Ok((Token::Name(_), _)) => {}
            Ok((Token::Word(next), _)) if !is_between(&next) => {}
            _ => return Ok(Aspect::Value),
        }
        self.advance()?;
        Ok(aspect)
    }

    pub(crate) fn path(&mut self, aspect: Aspect) -> Result<Path, Failure> {
        let mut steps = Vec::with_capacity(1);
        let (Token::Word(name) | Token::Name(name)) = &mut self.token else {
            return Err(self.expected("the name of a property, NOT or `(`"));
        };
        steps.push(Step::read(StepKey::Name(std::mem::take(name).into()), self.span));
        self.advance()?;
        loop {
            let start = self.span;
            match self.token {
                Token::Dot => {
                    self.advance()?;
                    let (Token::Word(name) | Token::Name(name)) = &mut self.token else {
                        return Err(self.expected("a name after `.`"));
                    };
                    steps.push(Step::read(StepKey::Name(std::mem::take(name).into()), self.span));
                    self.advance()?;
                }
                Token::OpenList => {
                    self.advance()?;
                    let index = match self.token {
                        Token::Integer(index) => u32::try_from(index).ok(),
                        _ => None,
                    };
                    let index = index.ok_or_else(|| self.expected("the number of an element, from 0"))?;
                    self.advance()?;
                    if self.token != Token::CloseList {
                        return Err(self.expected("`]`"));
                    }
                    let span = Span { start: start.start, end: self.span.end };
                    steps.push(Step::read(StepKey::Index(index), span));
                    self.advance()?;
                }
                _ => break,
            }
        }
        Ok(Path::of_steps(aspect, steps).expect("the first step is a name"))
    }

    fn list(&mut self) -> Result<Vec<Operand>, Failure> {
        let (close, expected) = match self.token {
            Token::Open => (Token::Close, "`,` or `)`"),
            Token::OpenList => (Token::CloseList, "`,` or `]`"),
            Token::Dollar | Token::OpenParameter => return Ok(vec![self.operand()?]),
            _ => return Err(self.expected("a list in parentheses, as in `(1, 2)`")),
        };
        self.advance()?;
        let mut values = Vec::new();
        while self.token != close {
            values.push(self.operand()?);
            if self.token == Token::Comma {
                self.advance()?;
            } else if self.token != close {
                return Err(self.expected(expected));
            }
        }
        self.advance()?;
        Ok(values)
    }

    fn operand(&mut self) -> Result<Operand, Failure> {
        let in_braces = match self.token {
            Token::Dollar => false,
            Token::OpenParameter => true,
            _ => return Ok(Operand::Literal(self.literal()?)),
        };
        self.advance()?;
        let mut name = String::new();
        loop {
            let (Token::Word(part) | Token::Name(part)) = &self.token else {
                return Err(self.expected("the name of a parameter, as in `$name`"));
            };
            name.push_str(part);
            self.advance()?;
            if self.token != Token::Dot {
                break;
            }
            name.push('.');
            self.advance()?;
        }
        let mut default = None;
        if in_braces {
            if self.token == Token::Otherwise {
                self.advance()?;
                default = Some(self.literal()?);
            }
            match self.token {
                Token::CloseParameter => self.advance()?,
                _ if default.is_some() => return Err(self.expected("`}`")),
                _ => return Err(self.expected("`??` and a default, or `}`")),
            }
        }
        Ok(Operand::Parameter(Parameter { name, default }))
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
            Token::Word(name) if name.eq_ignore_ascii_case("inf") => {
                Literal::Double(if negative { f64::NEG_INFINITY } else { f64::INFINITY })
            }
            _ if negative => return Err(self.expected("a number after `-`")),
            Token::Word(name) if name.eq_ignore_ascii_case("nan") => Literal::Double(f64::NAN),
            Token::Text(text) => Literal::String(std::mem::take(text)),
            Token::Keyword(Keyword::Null) => Literal::Null,
            Token::Keyword(Keyword::True) => Literal::Bool(true),
            Token::Keyword(Keyword::False) => Literal::Bool(false),
            Token::Word(_) | Token::Name(_) => return Err(self.expected("a value (text stands in quotes)")),
            _ => return Err(self.expected("a value")),
        };
        self.advance()?;
        Ok(literal)
    }

    /// Goes on to the next token.
    pub(crate) fn advance(&mut self) -> Result<(), Failure> {
        (self.token, self.span) = self.lexer.next()?;
        Ok(())
    }

    pub(crate) fn expected(&self, expected: &'static str) -> Failure {
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

pub(crate) fn is_between(word: &str) -> bool {
    word.eq_ignore_ascii_case("between")
}
