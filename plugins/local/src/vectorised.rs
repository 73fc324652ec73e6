//! Functions compiled for each instruction set, of which the best that the processor has is taken.

/// Defines a function whose body is compiled once for each set of vector instructions.
///
/// What the body calls must be `#[inline(always)]` or be inlined anyway: a function left apart is compiled for the
/// oldest processor, where each `mul_add` is a call. Iterator adapters with long closures are such functions.
macro_rules! vectorised {
    ($(#[$attribute:meta])* $vis:vis fn $name:ident<$life:lifetime>(
        $($argument:ident: $type:ty),* $(,)?
    ) -> $out:ty $body:block) => {
        $(#[$attribute])*
        $vis fn $name<$life>($($argument: $type),*) -> $out {
            struct Work<$life> { $($argument: $type),* }
            impl<$life> pulp::WithSimd for Work<$life> {
                type Output = $out;
                #[inline(always)]
                fn with_simd<S: pulp::Simd>(self, _: S) -> $out {
                    let Self { $($argument),* } = self;
                    $body
                }
            }
            pulp::Arch::new().dispatch(Work { $($argument),* })
        }
    };
}
pub(crate) use vectorised;
