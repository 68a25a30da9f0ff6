//! Members within a circle or a box. Every member is looked at: simple, and exact at the poles and the date line.

use super::place::Place;
use super::read::{show_distance, show_place};
use super::{place_of, unit_of};
use crate::arguments::{float, integer};
use crate::call::{Call, CommandError, CommandResult};
use crate::zset::{store, zset_at};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use data::value::ZSet;

/// Where distances are measured from.
#[derive(Clone, Copy)]
enum Centre<'a> {
    Member(&'a [u8]),
    Place(Place),
}

/// Lengths in metres.
#[derive(Clone, Copy)]
enum Shape {
    Circle { radius: f64 },
    Box { width: f64, height: f64 },
}

impl Shape {
    /// The distance in metres of a place within the shape.
    fn distance(self, centre: Place, place: Place) -> Option<f64> {
        let within = match self {
            Shape::Circle { radius } => centre.distance(place) <= radius,
            Shape::Box { width, height } => {
                // The width is measured along the place's own parallel, so a box narrows towards the poles.
                let beside = Place { longitude: centre.longitude, latitude: place.latitude };
                centre.latitude_distance(place) <= height / 2.0 && beside.distance(place) <= width / 2.0
            }
        };
        within.then(|| centre.distance(place))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Nearest,
    Farthest,
}

#[derive(Default)]
struct Shown {
    distance: bool,
    hash: bool,
    place: bool,
}

struct Search<'a> {
    centre: Centre<'a>,
    shape: Shape,
    /// Metres of the unit that distances are answered in.
    metres: f64,
    order: Option<Order>,
    count: Option<usize>,
    /// Any members up to the count will do, the nearest or not.
    any: bool,
    shown: Shown,
    stores_distance: bool,
}

struct Hit<'v> {
    member: &'v [u8],
    score: f64,
    place: Place,
    metres: f64,
}

pub(super) fn geosearch(call: &mut Call<'_, '_>) -> CommandResult {
    let search = Search::parse(call.rest(2), call.key(0), false)?;
    let hits = match zset_at(call.view, call.key(1))? {
        Some(zset) => search.hits(zset)?,
        None => Vec::new(),
    };
    call.reply.array(hits.len());
    for hit in hits {
        let shown = &search.shown;
        let extras = [shown.distance, shown.hash, shown.place].into_iter().filter(|shown| *shown).count();
        if extras > 0 {
            call.reply.array(1 + extras);
        }
        call.reply.bulk(hit.member);
        if shown.distance {
            show_distance(&mut call.reply, hit.metres / search.metres);
        }
        if shown.hash {
            call.reply.integer(hit.score as i64);
        }
        if shown.place {
            show_place(&mut call.reply, hit.place);
        }
    }
    Ok(())
}

pub(super) fn geosearchstore(call: &mut Call<'_, '_>) -> CommandResult {
    let search = Search::parse(call.rest(3), call.key(0), true)?;
    let mut stored = ZSet::new();
    if let Some(zset) = zset_at(call.view, call.key(2))? {
        for hit in search.hits(zset)? {
            stored
                .set(hit.member, if search.stores_distance { hit.metres / search.metres } else { hit.score });
        }
    }
    store(call, stored);
    Ok(())
}

/// One of the two options that every search must have.
enum Part<'a> {
    Centre(Centre<'a>),
    /// The shape, and the metres of its unit.
    Shape(Shape, f64),
}

impl<'a> Part<'a> {
    /// Reads the centre or shape that stands at the front and returns what follows it.
    fn parse<'o>(options: &'o [&'a [u8]]) -> Result<(Part<'a>, &'o [&'a [u8]]), CommandError> {
        let (option, rest) = options.split_first().ok_or(CommandError::SYNTAX)?;
        Ok(match (option.to_ascii_uppercase().as_slice(), rest) {
            (b"FROMMEMBER", [member, rest @ ..]) => (Part::Centre(Centre::Member(member)), rest),
            (b"FROMLONLAT", [longitude, latitude, rest @ ..]) => {
                (Part::Centre(Centre::Place(place_of(longitude, latitude)?)), rest)
            }
            (b"BYRADIUS", [radius, unit, rest @ ..]) => {
                let radius = length(radius, "ERR need numeric radius")?;
                if radius < 0.0 {
                    return Err(CommandError::fixed("ERR radius cannot be negative"));
                }
                let metres = unit_of(unit)?;
                (Part::Shape(Shape::Circle { radius: radius * metres }, metres), rest)
            }
            (b"BYBOX", [width, height, unit, rest @ ..]) => {
                let width = length(width, "ERR need numeric width")?;
                let height = length(height, "ERR need numeric height")?;
                if width < 0.0 || height < 0.0 {
                    return Err(CommandError::fixed("ERR height or width cannot be negative"));
                }
                let metres = unit_of(unit)?;
                (Part::Shape(Shape::Box { width: width * metres, height: height * metres }, metres), rest)
            }
            _ => return Err(CommandError::SYNTAX),
        })
    }
}

impl<'a> Search<'a> {
    /// Reads the options; `name` is the command as the client wrote it, for the errors.
    fn parse(mut options: &[&'a [u8]], name: &[u8], stores: bool) -> Result<Search<'a>, CommandError> {
        let (mut centre, mut shape, mut order, mut count) = (None, None, None, None);
        let (mut any, mut shown, mut stores_distance) = (false, Shown::default(), false);
        while let Some((option, mut rest)) = options.split_first() {
            match (option.to_ascii_uppercase().as_slice(), rest) {
                (b"COUNT", [text, after @ ..]) => {
                    let wanted = usize::try_from(integer(text)?).ok().filter(|count| *count > 0);
                    count = Some(wanted.ok_or(CommandError::fixed("ERR COUNT must be > 0"))?);
                    rest = after;
                }
                (b"ANY", _) => any = true,
                (b"ASC", _) => order = Some(Order::Nearest),
                (b"DESC", _) => order = Some(Order::Farthest),
                (b"WITHDIST", _) => shown.distance = true,
                (b"WITHHASH", _) => shown.hash = true,
                (b"WITHCOORD", _) => shown.place = true,
                (b"STOREDIST", _) if stores => stores_distance = true,
                _ => match Part::parse(options)? {
                    (Part::Centre(part), after) if centre.is_none() => {
                        centre = Some(part);
                        rest = after;
                    }
                    (Part::Shape(part, metres), after) if shape.is_none() => {
                        shape = Some((part, metres));
                        rest = after;
                    }
                    _ => return Err(CommandError::SYNTAX),
                },
            }
            options = rest;
        }
        if stores && (shown.distance || shown.hash || shown.place) {
            return Err(CommandError::fixed(
                "ERR GEOSEARCHSTORE is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
            ));
        }
        let one_of = |pair: &str| {
            let name = String::from_utf8_lossy(name);
            CommandError::new(format!("ERR exactly one of {pair} can be specified for {name}"))
        };
        let centre = centre.ok_or_else(|| one_of("FROMMEMBER or FROMLONLAT"))?;
        let (shape, metres) = shape.ok_or_else(|| one_of("BYRADIUS and BYBOX"))?;
        if any && count.is_none() {
            return Err(CommandError::fixed("ERR the ANY argument requires COUNT argument"));
        }
        Ok(Search { centre, shape, metres, order, count, any, shown, stores_distance })
    }

    /// The members within the shape, in the order and number asked for. A count without ANY means the nearest ones.
    fn hits<'v>(&self, zset: &'v ZSet) -> Result<Vec<Hit<'v>>, CommandError> {
        let centre = match self.centre {
            Centre::Place(place) => place,
            Centre::Member(member) => Place::of_score(
                zset.score(member)
                    .ok_or(CommandError::fixed("ERR could not decode requested zset member"))?,
            ),
        };
        let within = zset.iter().filter_map(|(member, score)| {
            let place = Place::of_score(score);
            let metres = self.shape.distance(centre, place)?;
            Some(Hit { member, score, place, metres })
        });
        let count = self.count.unwrap_or(usize::MAX);
        let mut hits: Vec<Hit<'v>> = within.take(if self.any { count } else { usize::MAX }).collect();
        let counts_nearest = self.count.is_some() && !self.any;
        match self.order.or(counts_nearest.then_some(Order::Nearest)) {
            Some(Order::Nearest) => hits.sort_by(|a, b| a.metres.total_cmp(&b.metres)),
            Some(Order::Farthest) => hits.sort_by(|a, b| b.metres.total_cmp(&a.metres)),
            None => {}
        }
        hits.truncate(count);
        Ok(hits)
    }
}

fn length(text: &[u8], error: &'static str) -> Result<f64, CommandError> {
    float(text).map_err(|_| CommandError::fixed(error))
}
