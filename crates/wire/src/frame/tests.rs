//! Frames of any split, and every way a frame is refused.

use super::*;
use crate::error_code::ErrorCode;
