#!/usr/bin/env bash
# usage: run.sh CIFAR10_TRAIN TABLE OUT: the study's searches, without a cap and with at most 20 units; resumable.
# CIFAR10_TRAIN: a folder with one folder of training images per class. TABLE: NAS-Bench-201's figures, see docs/search.md.
set -euo pipefail
train=$1 table=$2 out=$3

# Equal budgets, in CPU seconds: the surrogate trains 168 children, 8 of them longer, and scores thousands. Under the cap
# this costs as much as 100 trainings more. Without one, its children are large: 680 random ones cost nearly as much, and 430
# of the largest. Supernets have as many steps as take that time: 0.25 CPU seconds a step for atldas, 0.2 for gdas, 0.87
# for the dense ones.
rungs='evaluation.rungs=[{oracle: short_training, steps: 40, weights: {lr: 0.1, lr_end: 0.0, warm_up: 8, nesterov: true,
  weight_decay: 0.0005}, calibration_batches: 4, precision: auto, keep: 16}, {oracle: short_training, steps: 40, seeds: 3,
  weights: {lr: 0.1, lr_end: 0.0, warm_up: 8, nesterov: true, weight_decay: 0.0005}, calibration_batches: 4, precision: auto}]'
rungs="$(tr -d '\n' <<< "$rungs")"

# usage: compared FOLDER COMPARE'S OWN ARGUMENTS; begins it, or goes on with it
compared() {
    local folder="$out/$1" again=()
    if [ -e "$folder/config.yaml" ]; then again=(--resume); fi
    atldas compare "${@:2}" --table "$table" --column c10_test200 --set task_options.folder="$train" \
        --set budget.units=$units "${again[@]}" --out "$folder"
}

for units in 54 20; do
    random=680 largest=430
    if [ $units = 20 ]; then random=220 largest=220; fi
    compared units_$units nasbench201 --strategies surrogate --seeds 201..205 --jobs 1
    compared units_${units}_controls nasbench201 --strategies random,largest,evolution --seeds 201..203 --jobs 1 \
        --set-for random strategy_options.children=$random --set-for random "$rungs" \
        --set-for largest strategy_options.children=$largest --set-for largest "$rungs" \
        --set-for evolution 'strategy_options={population: 40, cycles: 180}' --set-for evolution "$rungs"
    compared units_${units}_supernets "$(dirname "$0")/../../searches/nasbench201_supernets.yaml" \
        --strategies atldas,darts,gdas,drnas --seeds 201..203 --jobs 2 \
        --set-for atldas search.steps=6500 --set-for gdas search.steps=8000 \
        --set-for darts search.steps=1900 --set-for darts search.architecture.start=400 \
        --set-for drnas search.steps=1900 --set-for drnas search.architecture.start=400
done
