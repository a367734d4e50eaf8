# Two commands do all their own set-up: `make demo` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help demo test bench million eval guide catalog screenshots faults fuzz docs pictures sim-day bundle bundle-test image image-test clean

VIDEO ?= .cache/vtest.avi
PORT ?= 8080
DIR ?= .demo
BIN := .venv/bin
demo_extra := center,demo

help: ## show this
	@grep -hE '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):[^#]*## /  make \1\t/'

demo: ## from a street video to tickets on a page; VIDEO=clip, CITYEYE_MODELS=folder, ONCE=1 ends by itself
	@deploy/setup.sh venv $(demo_extra)
	@if [ "$(VIDEO)" = .cache/vtest.avi ]; then deploy/setup.sh clip; fi
	@$(BIN)/python deploy/demo/run.py --video "$(VIDEO)" --port $(PORT) --dir "$(DIR)" $(if $(filter 1,$(ONCE)),--once)

test: ## lint, types, the import contract, and all tests
	@deploy/setup.sh venv dev
	@deploy/setup.sh tools
	@deploy/setup.sh axe
	@deploy/setup.sh clip || echo "tests that need vtest.avi are skipped"
	@$(BIN)/ruff format --quiet --check . || { echo "run: $(BIN)/ruff format ."; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --config setup.cfg >.cache/imports.log || { cat .cache/imports.log; exit 1; }
	@$(BIN)/python -m protocol.schemas docs/ref --check
	@$(BIN)/python -m collector.tickets.machine docs/ref --check
	@$(BIN)/python -m collector.indicators.definitions docs/ref --check
	@$(BIN)/python -m collector.web.language --check
	@$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder --ignore tests/bench $(PYTEST)
	@$(BIN)/pytest tests/bench

bench: ## measure speed beside what else one might use, write docs/design/speed.md; some 40 minutes
	@deploy/setup.sh venv dev
	@deploy/setup.sh clip
	@deploy/setup.sh rivals
	@$(BIN)/python -m tests.bench

million: ## a million tickets in SQLite, or in PostgreSQL with DATABASE=--postgresql: how long pages take; half an hour
	@deploy/setup.sh venv dev
	@$(BIN)/python -m tests.bench.million $(DATABASE)

eval: ## measure accuracy on the shared data, write tests/eval/accuracy.json; ONLY=people,tracking,faces,…
	@deploy/setup.sh venv dev
	@$(BIN)/python -m tests.eval $(if $(ONLY),--only $(ONLY))

docs: ## write docs/ref and deploy/broker again: schemas, AsyncAPI, who may call what, mosquitto
	@deploy/setup.sh venv dev
	@$(BIN)/python -m protocol.schemas docs/ref
	@$(BIN)/python -m collector.boxes.broker_files deploy/broker
	@$(BIN)/python -m collector.web.calls docs/ref
	@$(BIN)/python -m collector.tickets.machine docs/ref
	@$(BIN)/python -m collector.web.documents docs/ref
	@$(BIN)/python -m collector.indicators.definitions docs/ref
	@$(BIN)/python -m tests.mounting

pictures: ## make the README's pictures of overlays again; CITYEYE_MODELS=folder with yolo26n-640 and yunet-s-640
	@deploy/setup.sh venv $(demo_extra)
	@deploy/setup.sh clip
	@$(BIN)/python deploy/demo/pictures.py .cache/vtest.avi

guide: ## go the way of docs/guide/first-ticket.* and take its pictures again, as root, 15 minutes; CITYEYE_MODELS=folder with yunet-s-640
	@deploy/setup.sh venv dev
	@deploy/setup.sh tools
	@deploy/setup.sh clip
	@$(BIN)/python -m tests.guide_pictures

catalog: ## bring the Chinese of the pages up to date with the sentences in the code; says what has none yet
	@deploy/setup.sh venv dev
	@$(BIN)/python -m collector.web.language

screenshots: ## every page in both languages, light and dark, desktop and phone, into .cache/screenshots; ONLY=/tickets
	@deploy/setup.sh venv dev
	@deploy/setup.sh tools
	@$(BIN)/python -m tests.collector.web.gallery $(if $(ONLY),--only $(ONLY))

faults: ## break everything on purpose, write tests/faults/figures.json; an hour or two; ONLY=chaos,powercut,…
	@deploy/setup.sh venv dev
	@deploy/setup.sh tools
	@$(BIN)/python -m tests.faults $(if $(ONLY),--only $(ONLY))

INCIDENTS ?= 2000
sim-day: ## play a street's day on a simulated clock, some minutes; fails if a ticket is forgotten; INCIDENTS=2000
	@deploy/setup.sh venv dev
	@$(BIN)/python -m tests.sim --incidents $(INCIDENTS)

SECONDS ?= 600
fuzz: ## fuzz every decoder, SECONDS=600 each, two at a time
	@deploy/setup.sh venv dev
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

FOR ?= both
DEBIAN ?= 12
ARCH ?= amd64
bundle: ## one file in dist/ that installs without a network; FOR=agent|center|both DEBIAN=12|13 ARCH= WITH=postgresql DETECTORS= PINS=new
	@deploy/setup.sh venv $(demo_extra)
	@$(BIN)/python deploy/bundle/build.py --for $(FOR) --debian $(DEBIAN) --arch $(ARCH) --with $(WITH) --detectors $(DETECTORS) \
		$(if $(filter new,$(PINS)),--new-pins)

bundle-test: ## install, upgrade and remove bundles of agent and center in fresh roots without a route; as root; DEBIAN=12|13
	@deploy/setup.sh venv $(demo_extra)
	@deploy/setup.sh clip
	@deploy/bundle/test.sh $(DEBIAN)

BOARD ?= $(ARCH)
image: ## the disk of a box in dist/, signed update beside it; as root; BOARD=amd64|arm64|rpi KEYS=folder DETECTORS= MANIFEST=of an earlier one
	@deploy/setup.sh venv $(demo_extra)
	@$(BIN)/python -m deploy.image.build --board $(BOARD) --detectors $(DETECTORS) $(if $(KEYS),--keys $(KEYS)) \
		$(if $(MANIFEST),--manifest $(MANIFEST))

image-test: ## build an image, start it in QEMU, claim, update, break and cut it, an hour or two; as root; SHORT=1 BOARD=arm64 IMAGE=file of an earlier build
	@deploy/setup.sh venv dev
	@deploy/setup.sh tools
	@[ $(BOARD) != amd64 ] || deploy/setup.sh image
	@$(BIN)/python -m tests.image --board $(BOARD) $(if $(SHORT),--short) $(if $(IMAGE),--image $(IMAGE))

clean: ## remove everything that was set up
	rm -rf .venv .cache .demo dist *.egg-info .mypy_cache .ruff_cache .import_linter_cache
