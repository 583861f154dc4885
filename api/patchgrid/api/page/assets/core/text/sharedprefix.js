// What a pair's prompts begin with in common: nothing differs there, so nothing has an effect.

/** A shared beginning up to this long is shown. */
const SHORT = 24;
/** Tokens of it that stay, for the context. */
const CONTEXT = 3;

function sharedPrefix(tokens, others) {
  const first = tokens.findIndex((token, place) => token !== others[place]);
  return first < 0 ? tokens.length : first;
}

/** How many tokens of a pair can be folded away; 0: none are worth it. */
export function foldable(tokens, others) {
  const shared = sharedPrefix(tokens, others);
  return shared > SHORT && shared < tokens.length ? shared - CONTEXT : 0;
}
