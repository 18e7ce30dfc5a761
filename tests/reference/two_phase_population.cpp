// -log of the joint density of ln copies and random effects of a two-phase decline; values below the limit enter with
// their probability (M3).
#include <TMB.hpp>

template <class Type>
Type objective_function<Type>::operator()() {
  DATA_VECTOR(day);
  DATA_VECTOR(ln_y);  // ln of the limit where below is 1
  DATA_IVECTOR(below);
  DATA_IVECTOR(patient);  // from 0
  PARAMETER_VECTOR(mean);  // ln a, ln fast, ln b, ln slow
  PARAMETER_VECTOR(ln_between);
  PARAMETER(ln_sd);
  PARAMETER_MATRIX(eta);  // patients x 4
  Type sd = exp(ln_sd), total = 0;
  for (int i = 0; i < eta.rows(); i++)
    for (int j = 0; j < 4; j++) total -= dnorm(eta(i, j), Type(0), exp(ln_between(j)), true);
  for (int i = 0; i < day.size(); i++) {
    int p = patient(i);
    Type fast = exp(mean(1) + eta(p, 1)), slow = exp(mean(3) + eta(p, 3));
    Type ln_f = log(exp(mean(0) + eta(p, 0) - fast * day(i)) + exp(mean(2) + eta(p, 2) - slow * day(i)));
    total -= below(i) ? log(pnorm(ln_y(i), ln_f, sd)) : dnorm(ln_y(i), ln_f, sd, true);
  }
  return total;
}
