//! Shows a plain table at one moment of the log as a `View`.
