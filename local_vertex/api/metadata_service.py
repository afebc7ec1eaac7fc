"""MetadataService: reading artifacts, executions and contexts, and the lineage between them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from google.cloud import aiplatform_v1

from local_vertex.api.filters import parse_filter
from local_vertex.api.listing import page_of
from local_vertex.api.metadata import ARTIFACT, CONTEXT, EXECUTION, STORE_ID, SUBGRAPH
from local_vertex.domain.errors import InvalidArgument, NotFound
from local_vertex.domain.names import MetadataStoreName

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from local_vertex.api.collection import Collection
    from local_vertex.api.filters import Predicate
    from local_vertex.api.messages import Message
    from local_vertex.api.metadata import Metadata
    from local_vertex.api.region import Region

_STORE = aiplatform_v1.MetadataStore.pb()
_RELATION = re.compile(
    r"""(?P<function>in_context)\(\s*["'](?P<member>[^"']+)["']\s*\)"""
    r"""|\b(?P<field>parent_contexts|child_contexts)\s*:\s*["'](?P<relative>[^"']+)["']"""
)


class MetadataService:
    """Answers google.cloud.aiplatform.v1.MetadataService, as far as reading goes."""

    def __init__(self, region: Region, metadata: Metadata) -> None:
        self._region = region
        self._metadata = metadata

    def get_metadata_store(self, request: Message) -> Message:
        """Answer GetMetadataStore; there is one, `default`."""
        return _STORE(name=self._store(request.name))

    def list_metadata_stores(self, request: Message) -> Message:
        """Answer ListMetadataStores."""
        stores = [_STORE(name=f"{self._region.parent(request.parent)}/metadataStores/{STORE_ID}")]
        return aiplatform_v1.ListMetadataStoresResponse.pb()(
            metadata_stores=page_of(stores, request, _STORE).items
        )

    def get_artifact(self, request: Message) -> Message:
        """Answer GetArtifact."""
        return self._metadata.artifacts.get(self._region.canonical(request.name))

    def get_execution(self, request: Message) -> Message:
        """Answer GetExecution."""
        return self._metadata.executions.get(self._region.canonical(request.name))

    def get_context(self, request: Message) -> Message:
        """Answer GetContext."""
        return self._metadata.contexts.get(self._region.canonical(request.name))

    def list_artifacts(self, request: Message) -> Message:
        """Answer ListArtifacts, the newest first unless ordered otherwise; knows `in_context("…")`."""
        relations = {"in_context": lambda context: self._metadata.members(context)[0]}
        items, token = self._page(request, self._metadata.artifacts, ARTIFACT, relations)
        return aiplatform_v1.ListArtifactsResponse.pb()(artifacts=items, next_page_token=token)

    def list_executions(self, request: Message) -> Message:
        """Answer ListExecutions, the newest first unless ordered otherwise; knows `in_context("…")`."""
        relations = {"in_context": lambda context: self._metadata.members(context)[1]}
        items, token = self._page(request, self._metadata.executions, EXECUTION, relations)
        return aiplatform_v1.ListExecutionsResponse.pb()(executions=items, next_page_token=token)

    def list_contexts(self, request: Message) -> Message:
        """Answer ListContexts, the newest first unless ordered otherwise; knows parents and children."""
        contexts = self._metadata.contexts
        relations = {
            "parent_contexts": lambda parent: [
                each.name for each in contexts.all() if parent in each.parent_contexts
            ],
            "child_contexts": self._parents_of,
        }
        items, token = self._page(request, contexts, CONTEXT, relations)
        return aiplatform_v1.ListContextsResponse.pb()(contexts=items, next_page_token=token)

    def query_artifact_lineage_subgraph(self, request: Message) -> Message:
        """Answer QueryArtifactLineageSubgraph: all that can be reached, or up to `max_hops` away.

        From an artifact to an execution is one hop, from there to its other artifacts the next.
        """
        if request.max_hops < 0:
            raise InvalidArgument.of("max_hops", f"{request.max_hops} is negative")
        start = self._metadata.artifacts.get(self._region.canonical(request.artifact))
        keep = parse_filter(request.filter, ARTIFACT)
        walk = _Walk(metadata=self._metadata, keep=keep)
        return self._subgraph(*walk.from_artifact(start.name, request.max_hops))

    def query_context_lineage_subgraph(self, request: Message) -> Message:
        """Answer QueryContextLineageSubgraph: what belongs to a context, and the events between it."""
        context = self._metadata.contexts.get(self._region.canonical(request.context))
        artifacts, executions = self._metadata.members(context.name)
        events = [event for name in executions for event in self._metadata.events(name)]
        return self._subgraph(artifacts, executions, events)

    def query_execution_inputs_and_outputs(self, request: Message) -> Message:
        """Answer QueryExecutionInputsAndOutputs: an execution with what it has read and made."""
        execution = self._metadata.executions.get(self._region.canonical(request.execution))
        events = self._metadata.events(execution.name)
        return self._subgraph([event.artifact for event in events], [execution.name], events)

    def _store(self, name: str) -> str:
        store = MetadataStoreName.parse(self._region.canonical(name))
        if store.id != STORE_ID:
            raise NotFound(f"metadata store '{store}' does not exist; there is one, '{STORE_ID}'")
        return str(store)

    def _page(
        self,
        request: Message,
        collection: Collection,
        message_type: type[Message],
        relations: Mapping[str, Callable[[str], Iterable[str]]],
    ) -> tuple[list[Message], str]:
        """Return a page; `relations` say which resources are related to the context of a name."""
        store = self._store(request.parent)
        asked = type(request)()
        asked.CopyFrom(request)
        virtual: dict[str, Callable[[Message], str]] = {}

        def replaced(match: re.Match[str]) -> str:
            related = relations.get(match["function"] or match["field"])
            if related is None:
                return match[0]
            names = set(related(self._region.canonical(match["member"] or match["relative"])))
            virtual[key := f"relation_{len(virtual)}"] = lambda message: str(message.name in names)
            return f"{key}=True"

        asked.filter = _RELATION.sub(replaced, request.filter)
        listed = collection.earlier(store, age=self._region.lags.lists)
        page = page_of(listed, asked, message_type, virtual=virtual)
        return page.items, page.next_page_token

    def _parents_of(self, context: str) -> Iterable[str]:
        child = self._metadata.contexts.find(context)
        return list(child.parent_contexts) if child else []

    def _subgraph(
        self, artifacts: Iterable[str], executions: Iterable[str], events: Iterable[Message]
    ) -> Message:
        found = [self._metadata.artifacts.find(name) for name in dict.fromkeys(artifacts)]
        ran = [self._metadata.executions.find(name) for name in dict.fromkeys(executions)]
        return SUBGRAPH(
            artifacts=[each for each in found if each is not None],
            executions=[each for each in ran if each is not None],
            events=events,
        )


@dataclass(slots=True, kw_only=True)
class _Walk:
    """One way through the lineage, over artifacts that are to be kept."""

    metadata: Metadata
    keep: Predicate
    _artifacts: list[str] = field(default_factory=list)
    _executions: list[str] = field(default_factory=list)

    def from_artifact(self, start: str, max_hops: int) -> tuple[list[str], list[str], list[Message]]:
        """Return the artifacts, executions and events; 0 hops mean as far as they lead."""
        events = self.metadata.all_events()
        fresh, hops = [start], 0
        self._artifacts.append(start)
        while fresh and (hops < max_hops or not max_hops):
            hops += 1
            fresh = (self._executions_at if hops % 2 else self._artifacts_at)(fresh, events)
        shown = [
            event
            for event in events
            if event.artifact in self._artifacts and event.execution in self._executions
        ]
        return self._artifacts, self._executions, shown

    def _executions_at(self, artifacts: Iterable[str], events: Iterable[Message]) -> list[str]:
        near = dict.fromkeys(event.execution for event in events if event.artifact in artifacts)
        fresh = [name for name in near if name not in self._executions]
        self._executions += fresh
        return fresh

    def _artifacts_at(self, executions: Iterable[str], events: Iterable[Message]) -> list[str]:
        near = dict.fromkeys(event.artifact for event in events if event.execution in executions)
        fresh = [name for name in near if name not in self._artifacts and self._kept(name)]
        self._artifacts += fresh
        return fresh

    def _kept(self, name: str) -> bool:
        artifact = self.metadata.artifacts.find(name)
        return artifact is not None and self.keep(artifact)
