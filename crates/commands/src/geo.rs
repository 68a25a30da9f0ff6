//! Places on the globe: sorted sets whose scores are geohashes of 52 bits.
//!
//! Nothing here has a value type of its own: a place is written and removed like any member of a sorted set.

mod place;
mod read;
mod search;
mod write;

use crate::arguments::float;
use crate::call::CommandError;
use crate::describe::Family;
use crate::spec::{Flags, Keys, Spec};
use alloc::format;
use place::Place;

const GEO: Family = Family("geo");
const GROWS: Flags = Flags::DENYOOM;
const TWO_KEYS: Keys = Keys::Range { first: 1, last: 2, step: 1 };

pub const SPECS: &[Spec] = &[
    GEO.write("geoadd", -5, write::geoadd).flags(GROWS).docs(
        "3.2.0",
        "O(log(N)) a member",
        "Adds members at places on the globe.",
    ),
    GEO.read("geopos", -2, read::geopos).docs(
        "3.2.0",
        "O(1) a member",
        "Answers the longitude and latitude of members.",
    ),
    GEO.read("geodist", -4, read::geodist).docs("3.2.0", "O(1)", "Answers the distance between two members."),
    GEO.read("geohash", -2, read::geohash).docs(
        "3.2.0",
        "O(1) a member",
        "Answers the geohash texts of members.",
    ),
    GEO.read("geosearch", -7, search::geosearch).docs(
        "6.2.0",
        "O(N), N members of the set",
        "Answers the members within a circle or box.",
    ),
    GEO.write("geosearchstore", -8, search::geosearchstore).flags(GROWS).keys(TWO_KEYS).docs(
        "6.2.0",
        "O(N), N members of the set",
        "Stores the members within a circle or box.",
    ),
];

/// Reads a longitude and a latitude in degrees.
fn place_of(longitude: &[u8], latitude: &[u8]) -> Result<Place, CommandError> {
    let (longitude, latitude) = (float(longitude)?, float(latitude)?);
    Place::new(longitude, latitude).ok_or_else(|| {
        CommandError::new(format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}"))
    })
}

/// Metres of a unit.
fn unit_of(text: &[u8]) -> Result<f64, CommandError> {
    match text.to_ascii_lowercase().as_slice() {
        b"m" => Ok(1.0),
        b"km" => Ok(1000.0),
        b"ft" => Ok(0.3048),
        b"mi" => Ok(1609.34),
        _ => Err(CommandError::fixed("ERR unsupported unit provided. please use M, KM, FT, MI")),
    }
}
