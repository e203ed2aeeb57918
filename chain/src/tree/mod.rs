//! The authenticated tree over the state.
