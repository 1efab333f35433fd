/** Late fusion as the house does it, from what each modality says by itself; it knows nothing of the page. */

/** Average as heads/modules/late.py does: weights are renormalised over what is given, and alike where all are 0. */
export function pool(explain, by) {
  const given = Object.keys(by).filter((name) => explain.probabilities[name]);
  const total = given.reduce((sum, name) => sum + by[name], 0);
  const mixed = new Array(explain.classes.length).fill(0);
  for (const name of given) {
    const share = total > 0 ? by[name] / total : 1 / given.length;
    tempered(explain.probabilities[name], explain.late_temperatures?.[name]).forEach((one, k) => (mixed[k] += share * one));
  }
  return tempered(mixed, explain.late_temperature);
}

function tempered(probabilities, temperature) {
  if ((temperature ?? 1) === 1) return probabilities;
  const powers = probabilities.map((one) => one ** (1 / temperature));
  const total = powers.reduce((sum, one) => sum + one, 0);
  return powers.map((one) => one / total);
}

/** Return the `n` likeliest classes by these weights. */
export function likeliest(explain, by, n) {
  return pool(explain, by).map((probability, k) => ({ answer: explain.classes[k], probability }))
    .sort((one, other) => other.probability - one.probability).slice(0, n);
}

/** Return weights of sum 1 in which `name` has `weight`; the others keep their proportions, or have the trained ones. */
export function reweighed(weights, trained, name, weight) {
  const others = Object.keys(weights).filter((other) => other !== name);
  const sum = (by) => others.reduce((total, other) => total + by[other], 0);
  const alike = Object.fromEntries(others.map((other) => [other, 1]));
  const by = [weights, trained, alike].find((one) => sum(one) > 0);
  const shares = others.map((other) => [other, (1 - weight) * by[other] / sum(by)]);
  return { ...weights, ...Object.fromEntries(shares), [name]: weight };
}

export const headNames = (about) => Array.isArray(about.heads) ? about.heads : Object.keys(about.heads);

export function trainedWeights(about) {
  const alike = () => Object.fromEntries(headNames(about).map((name) => [name, 1]));
  const trained = about.late_weights ?? alike();
  const names = about.modalities.filter((name) => name in trained);
  const total = names.reduce((sum, name) => sum + trained[name], 0);
  return Object.fromEntries(names.map((name) => [name, trained[name] / total]));
}
