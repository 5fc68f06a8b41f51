//! Which forms of an answer exclude each other.

use utoipa::{
    Modify,
    openapi::{
        OpenApi, RefOr,
        schema::{AnyOfBuilder, Schema},
    },
};

/// Corrects what a derive cannot know: every enum is described as if a value could have one of its forms only.
pub(super) struct Forms;

/// Types whose forms overlap: what `fields` choose of a robot may be all of its summary.
const OVERLAPPING: [&str; 1] = ["ListedRobot"];

impl Modify for Forms {
    fn modify(&self, openapi: &mut OpenApi) {
        let Some(components) = &mut openapi.components else { return };
        for name in OVERLAPPING {
            let Some(RefOr::T(schema)) = components.schemas.get_mut(name) else { continue };
            if let Schema::OneOf(forms) = schema {
                let any = AnyOfBuilder::new().description(forms.description.take());
                let any = forms.items.drain(..).fold(any, AnyOfBuilder::item);
                *schema = Schema::AnyOf(any.build());
            }
        }
    }
}
