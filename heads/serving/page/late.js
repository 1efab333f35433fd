/** Late fusion, computed from the answers of each modality's own head; it touches nothing of the page. */

/** Average as heads/modules/late.py: weights are renormalised over the present modalities, equal where all are 0. */
export function pool(explain, weights) {
  const present = Object.keys(weights).filter((name) => explain.probabilities[name]);
  const total = present.reduce((sum, name) => sum + weights[name], 0);
  const mixed = new Array(explain.classes.length).fill(0);
  for (const name of present) {
    const share = total > 0 ? weights[name] / total : 1 / present.length;
    const probabilities = tempered(explain.probabilities[name], explain.late_temperatures?.[name]);
    probabilities.forEach((probability, k) => (mixed[k] += share * probability));
  }
  return tempered(mixed, explain.late_temperature);
}

function tempered(probabilities, temperature) {
  if ((temperature ?? 1) === 1) return probabilities;
  const powers = probabilities.map((probability) => probability ** (1 / temperature));
  const total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}

/** Return the `n` likeliest classes by these weights. */
export function likeliest(explain, weights, n) {
  return pool(explain, weights).map((probability, k) => ({ answer: explain.classes[k], probability }))
    .sort((a, b) => b.probability - a.probability).slice(0, n);
}

/** Return weights of sum 1 in which `name` has `weight`; the others keep their proportions, or the trained ones. */
export function reweighed(weights, trained, name, weight) {
  const otherNames = Object.keys(weights).filter((otherName) => otherName !== name);
  const sum = (candidate) => otherNames.reduce((total, otherName) => total + candidate[otherName], 0);
  const equal = Object.fromEntries(otherNames.map((otherName) => [otherName, 1]));
  const proportions = [weights, trained, equal].find((candidate) => sum(candidate) > 0);
  const shares = otherNames.map((otherName) => [otherName, (1 - weight) * proportions[otherName] / sum(proportions)]);
  return { ...weights, ...Object.fromEntries(shares), [name]: weight };
}

export const headNames = (about) => Array.isArray(about.heads) ? about.heads : Object.keys(about.heads);

export function trainedWeights(about) {
  const trained = about.late_weights ?? Object.fromEntries(headNames(about).map((name) => [name, 1]));
  const names = about.modalities.filter((name) => name in trained);
  const total = names.reduce((sum, name) => sum + trained[name], 0);
  return Object.fromEntries(names.map((name) => [name, trained[name] / total]));
}
