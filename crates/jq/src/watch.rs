//! What a program in jq may use, and the filters that watch over it.
//!
//! INV-JQ-BOUND: a program ends, whatever the message is, after a bounded number of steps and within bounded memory and stack; it
//! reads no file, no environment and no clock, and writes nothing. What a single function does to one value (a sort, a pattern in a
//! text) is bounded by the size of the value only, so [a thread of its own](crate::each) runs it.

use std::cell::Cell;
use std::io;
use std::time::Instant;

use jaq_core::box_iter::box_once;
use jaq_core::native::{Fun, bome, v};
use jaq_core::{Bind, Cv, DataT, Error, Exn, Lut, Native, ValXs, data::HasLut};
use jaq_json::{Num, Val};

use crate::guard;
use crate::program::TIME_MAX;

/// Values that iterations and calls may give, all together.
const STEPS_MAX: u32 = 5_000_000;
/// Lists and objects a program may make: none lies deeper in others than there are.
const MADE_MAX: u32 = 1_000_000;
/// Bytes of a text, and of all large texts together, that a program may put together.
pub const TEXT_MAX: usize = 64 << 20;
const LARGE: usize = 1 << 20;
const LARGE_TEXTS_MAX: usize = 256 << 20;
/// Items of a list that is a sum.
const ITEMS_MAX: usize = 4 << 20;
/// Stack that calls may take; what is above it is for values that lie deep in one another.
pub(crate) const CALLS_STACK_MAX: usize = 32 << 20;
/// Stack that printing a value may take.
pub(crate) const PRINT_STACK_MAX: usize = 400 << 20;
/// Steps between two looks at the clock.
const STEPS_PER_LOOK: u32 = 64;
const _: () = assert!(
    STEPS_PER_LOOK < MADE_MAX && MADE_MAX < STEPS_MAX,
    "the clock is looked at often, and what is made takes a step"
);
const _: () = assert!(
    LARGE < TEXT_MAX && TEXT_MAX <= LARGE_TEXTS_MAX,
    "the largest text is counted among the large ones, and there may be one"
);

/// What a program has used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Exceeded {
    Time = 1,
    Steps,
    Made,
    Stack,
    Size,
}

impl Exceeded {
    const ALL: [Self; 5] = [Self::Time, Self::Steps, Self::Made, Self::Stack, Self::Size];

    pub(crate) fn of_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|it| *it as i32 == code)
    }

    pub(crate) fn reason(self) -> String {
        match self {
            Self::Time => "the jq program ran for more than 5 s".to_owned(),
            Self::Steps => format!("the jq program took more than {STEPS_MAX} steps"),
            Self::Made => format!("the jq program made more than {MADE_MAX} lists and objects"),
            Self::Stack => "the jq program calls itself too deep".to_owned(),
            Self::Size => "the jq program made a value of more than 64 MiB".to_owned(),
        }
    }
}

/// The use of one run.
#[derive(Debug)]
pub struct Watch {
    deadline: Instant,
    stack_begin: usize,
    steps: Cell<u32>,
    made: Cell<u32>,
    large_texts: Cell<usize>,
    exceeded: Cell<Option<Exceeded>>,
}

/// About where the stack is.
#[inline(never)]
fn stack_here() -> usize {
    let here = 0_u8;
    &raw const here as usize
}

impl Watch {
    /// For a message that begins now, on this thread.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            deadline: Instant::now() + TIME_MAX,
            stack_begin: stack_here(),
            steps: Cell::new(0),
            made: Cell::new(0),
            large_texts: Cell::new(0),
            exceeded: Cell::new(None),
        }
    }

    /// What was used up, if anything.
    pub(crate) fn exceeded(&self) -> Option<Exceeded> {
        self.exceeded.get()
    }

    fn exceed(&self, what: Exceeded) -> Result<(), Exceeded> {
        self.exceeded.set(self.exceeded.get().or(Some(what)));
        self.still()
    }

    /// Whether nothing is used up: a program that went on all the same ends at its next step.
    fn still(&self) -> Result<(), Exceeded> {
        self.exceeded.get().map_or(Ok(()), Err)
    }

    fn stack(&self) -> usize {
        self.stack_begin.abs_diff(stack_here())
    }

    pub(crate) fn step(&self) -> Result<(), Exceeded> {
        self.still()?;
        let steps = self.steps.get() + 1;
        self.steps.set(steps);
        if steps > STEPS_MAX {
            return self.exceed(Exceeded::Steps);
        }
        if steps.is_multiple_of(STEPS_PER_LOOK) && Instant::now() >= self.deadline {
            return self.exceed(Exceeded::Time);
        }
        if self.stack() > CALLS_STACK_MAX {
            return self.exceed(Exceeded::Stack);
        }
        Ok(())
    }

    fn made(&self) -> Result<(), Exceeded> {
        self.made.set(self.made.get() + 1);
        if self.made.get() > MADE_MAX {
            return self.exceed(Exceeded::Made);
        }
        self.step()
    }

    fn size(&self, value: &Val) -> Result<(), Exceeded> {
        match value {
            Val::TStr(text) | Val::BStr(text) => self.text(text.len()),
            Val::Arr(items) if items.len() > ITEMS_MAX => self.exceed(Exceeded::Size),
            Val::Obj(items) if items.len() > ITEMS_MAX => self.exceed(Exceeded::Size),
            _ => self.still(),
        }
    }

    /// Counts a text that is made, before it is.
    fn text(&self, bytes: usize) -> Result<(), Exceeded> {
        if bytes > LARGE {
            self.large_texts.set(self.large_texts.get().saturating_add(bytes));
        }
        match bytes > TEXT_MAX || self.large_texts.get() > LARGE_TEXTS_MAX {
            true => self.exceed(Exceeded::Size),
            false => self.still(),
        }
    }
}

/// What filters find: the program, and its watch.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) lut: &'a Lut<Watched>,
    pub(crate) watch: &'a Watch,
}

/// The kind of data that programs run on.
pub(crate) struct Watched;

impl DataT for Watched {
    type V<'a> = Val;
    type Data<'a> = Scope<'a>;
}

impl<'a> HasLut<'a, Watched> for Scope<'a> {
    fn lut(&self) -> &'a Lut<Watched> {
        self.lut
    }
}

type Values<'a> = ValXs<'a, Val>;
type Here<'a> = Cv<'a, Watched>;

fn ended<'a>(what: Exceeded) -> Exn<'a, Val> {
    // No `try` catches it.
    Exn::halt(what as i32)
}

/// Gives the value on if nothing is used up.
fn on<'a>(result: Result<(), Exceeded>, value: Val) -> Values<'a> {
    box_once(result.map(|()| value).map_err(ended))
}

/// A filter that gives on what it gets, as a path, too.
fn watcher(name: &'static str) -> Fun<Watched> {
    let native = Native::new(|(scope, value): Here<'_>| on(scope.data().watch.step(), value))
        .with_paths(|(scope, at)| box_once(scope.data().watch.step().map(|()| at).map_err(ended)))
        .with_update(|(scope, value), f| match scope.data().watch.step() {
            Ok(()) => f(value),
            Err(what) => box_once(Err(ended(what))),
        });
    (name, v(0), native)
}

fn product<'a>(here: Here<'a>) -> Values<'a> {
    let (mut scope, value) = here;
    drop(value);
    let right = scope.pop_var();
    let left = scope.pop_var();
    let watch = scope.data().watch;
    let times = |text: usize, number: &Num| {
        let times = match number {
            Num::BigInt(_) => usize::MAX,
            number => number.as_isize().map_or(0, |it| usize::try_from(it).unwrap_or(0)),
        };
        text.saturating_mul(times)
    };
    let bytes = match (&left, &right) {
        (Val::TStr(text) | Val::BStr(text), Val::Num(number))
        | (Val::Num(number), Val::TStr(text) | Val::BStr(text)) => times(text.len(), number),
        // Digits, about.
        (Val::Num(Num::BigInt(one)), Val::Num(Num::BigInt(other))) => {
            match one.bits().saturating_add(other.bits()) > DIGITS_MAX * 4 {
                true => usize::MAX,
                false => 0,
            }
        }
        _ => 0,
    };
    match watch.text(bytes) {
        Ok(()) => bome(left * right),
        Err(what) => box_once(Err(ended(what))),
    }
}

/// Digits of a whole number that is calculated with: a number of more takes time that grows faster than it does.
pub(crate) const DIGITS_MAX: u64 = 4_300;

/// The text of a value, as JSON unless it is text already.
fn text<'a>(here: Here<'a>) -> Values<'a> {
    match here.1 {
        Val::TStr(_) | Val::BStr(_) => box_once(Ok(here.1)),
        _ => to_json(here),
    }
}

fn to_json<'a>(here: Here<'a>) -> Values<'a> {
    let (scope, value) = here;
    let watch = scope.data().watch;
    let printed = print(&value, watch, TEXT_MAX).and_then(|text| {
        watch.text(text.len())?;
        Ok(Val::utf8_str(text))
    });
    box_once(printed.map_err(ended))
}

fn from_json<'a>(here: Here<'a>) -> Values<'a> {
    let Val::TStr(text) = &here.1 else {
        return box_once(Err(Error::typ(here.1, "string").into()));
    };
    bome(crate::program::read(text).map_err(|bad| Error::str(bad.0)))
}

/// Natives of the standard library that are not to be had: they look at the world or speak to it, or end the process.
pub(crate) const OUTSIDE: [&str; 9] = [
    "env",
    "now",
    "halt",
    "debug_empty",
    "stderr_empty",
    "localtime",
    "strflocaltime",
    "input",
    "inputs",
];
/// Definitions of the standard library that need them.
pub(crate) const OUTSIDE_DEFS: [&str; 4] = ["stderr", "debug", "halt", "halt_error"];

/// Every function that a program finds.
pub(crate) fn functions() -> impl Iterator<Item = Fun<Watched>> {
    let other = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let ours = ["tojson", "fromjson"];
    let other = other.filter(move |(name, ..)| !OUTSIDE.contains(name) && !ours.contains(name));
    let two = || -> Box<[Bind]> { v(2) };
    other.chain([
        watcher(guard::CALL),
        watcher(guard::STEP),
        (guard::MADE, v(0), Native::new(|(scope, it): Here<'_>| on(scope.data().watch.made(), it))),
        (
            guard::SIZED,
            v(0),
            Native::new(|(scope, it): Here<'_>| {
                let result = scope.data().watch.size(&it);
                on(result, it)
            }),
        ),
        (guard::PRODUCT, two(), Native::<Watched>::new(product)),
        (guard::TEXT, v(0), Native::<Watched>::new(text)),
        ("tojson", v(0), Native::<Watched>::new(to_json)),
        ("fromjson", v(0), Native::<Watched>::new(from_json)),
    ])
}

/// Text that ends at a limit.
struct Bounded<'a> {
    text: Vec<u8>,
    bytes_max: usize,
    watch: &'a Watch,
    writes: u32,
    exceeded: Option<Exceeded>,
}

impl io::Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // It is called at every depth of the value.
        if self.watch.stack() > PRINT_STACK_MAX {
            self.exceeded = Some(Exceeded::Stack);
            return Err(io::ErrorKind::Other.into());
        }
        self.writes = self.writes.wrapping_add(1);
        if self.writes.is_multiple_of(4_096) && Instant::now() >= self.watch.deadline {
            self.exceeded = Some(Exceeded::Time);
            return Err(io::ErrorKind::TimedOut.into());
        }
        if self.text.len() + bytes.len() > self.bytes_max {
            self.exceeded = Some(Exceeded::Size);
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The JSON of a value, or what jaq writes for what JSON cannot say.
pub(crate) fn print(value: &Val, watch: &Watch, bytes_max: usize) -> Result<Vec<u8>, Exceeded> {
    let mut out = Bounded { text: Vec::new(), bytes_max, watch, writes: 0, exceeded: None };
    match jaq_json::write::write(&mut out, &jaq_json::write::Pp::default(), 0, value) {
        Ok(()) => Ok(out.text),
        Err(_) => Err(out.exceeded.unwrap_or(Exceeded::Size)),
    }
}
