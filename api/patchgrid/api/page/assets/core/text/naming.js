/** A component's name at all positions at once: `a9.h6` of `a9.h6@-1`. */
export function wholeName({ component }) {
  return component.split("@")[0];
}
