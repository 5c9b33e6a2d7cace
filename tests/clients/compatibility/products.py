"""The subgraph that Apollo's compatibility tests expect, made with our schema and served by our view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import strawberry
from strawberry.federation.schema_directives import Override
from strawberry.schema.config import StrawberryConfig
from strawberry.schema_directive import Location
from strawberry.types.info import Info

from schema.base import GraphSchema
from schema.http.endpoint import Endpoint
from schema.http.settings import HttpSettings
from schema.http.view import GraphQLView
from schema.limits import Limits

Anything = Info[Any, Any]


@strawberry.federation.schema_directive(
    locations=[Location.OBJECT], name="custom", compose=True, import_url="https://myspecs.dev/myCustomDirective/v1.0"
)
class Custom:
    pass


@strawberry.federation.type(keys=["email"], extend=True)
class User:
    email: strawberry.ID = strawberry.federation.field(external=True)
    name: str | None = strawberry.federation.field(directives=[Override(override_from="users")], default="Jane Smith")
    total_products_created: int | None = strawberry.federation.field(external=True, default=1337)
    years_of_employment: int = strawberry.federation.field(external=True, default=0)

    @strawberry.federation.field(requires=["totalProductsCreated", "yearsOfEmployment"])  # type: ignore[untyped-decorator]
    def average_products_created_per_year(self) -> int | None:
        if self.total_products_created is None or not self.years_of_employment:
            return None
        return round(self.total_products_created / self.years_of_employment)

    @classmethod
    def resolve_reference(cls, info: Anything, email: str, **required: Any) -> User:
        return cls(
            email=strawberry.ID(email),
            total_products_created=required.get("totalProductsCreated"),
            years_of_employment=required.get("yearsOfEmployment", 0),
        )


USER = User(email=strawberry.ID("support@apollographql.com"))


@strawberry.federation.type(shareable=True)
class ProductDimension:
    size: str | None
    weight: float | None
    unit: str | None = strawberry.federation.field(inaccessible=True)


@strawberry.type
class ProductVariation:
    id: strawberry.ID


@strawberry.type
class CaseStudy:
    case_number: strawberry.ID
    description: str | None


@strawberry.federation.type(keys=["study { caseNumber }"])
class ProductResearch:
    study: CaseStudy
    outcome: str | None = None

    @classmethod
    def resolve_reference(cls, info: Anything, study: dict[str, Any], **_: Any) -> ProductResearch | None:
        return next((one for one in RESEARCH if one.study.case_number == study["caseNumber"]), None)


@strawberry.federation.type(keys=["sku package"])
class DeprecatedProduct:
    sku: str
    package: str
    reason: str | None = "Migrate to Federation V2"
    created_by: User | None = None

    @classmethod
    def resolve_reference(cls, info: Anything, sku: str, package: str, **_: Any) -> DeprecatedProduct | None:
        return DEPRECATED if (sku, package) == (DEPRECATED.sku, DEPRECATED.package) else None


@strawberry.federation.type(keys=["id", "sku package", "sku variation { id }"], directives=[Custom()])
class Product:
    id: strawberry.ID
    sku: str | None
    package: str | None
    variation: ProductVariation | None
    research: list[ProductResearch]
    dimensions: ProductDimension | None = strawberry.field(
        default_factory=lambda: ProductDimension(size="small", weight=1.0, unit="kg")
    )
    created_by: User | None = strawberry.federation.field(
        provides=["totalProductsCreated"], default_factory=lambda: USER
    )
    notes: str | None = strawberry.federation.field(tags=["internal"], default=None)

    @classmethod
    def resolve_reference(cls, info: Anything, **keys: Any) -> Product | None:
        def has(product: Product) -> bool:
            variation = product.variation and {"id": product.variation.id}
            known = {"id": product.id, "sku": product.sku, "package": product.package, "variation": variation}
            return keys.items() <= known.items()

        return next(filter(has, PRODUCTS), None)


@strawberry.federation.interface_object(keys=["id"])
class Inventory:
    id: strawberry.ID
    deprecated_products: list[DeprecatedProduct]

    @classmethod
    def resolve_reference(cls, info: Anything, id: str, **_: Any) -> Inventory:
        return cls(id=strawberry.ID(id), deprecated_products=[DEPRECATED])


DEPRECATED = DeprecatedProduct(sku="apollo-federation-v1", package="@apollo/federation-v1", created_by=USER)
RESEARCH = [
    ProductResearch(study=CaseStudy(case_number=strawberry.ID("1234"), description="Federation Study")),
    ProductResearch(study=CaseStudy(case_number=strawberry.ID("1235"), description="Studio Study")),
]
PRODUCTS = [
    Product(
        id=strawberry.ID("apollo-federation"),
        sku="federation",
        package="@apollo/federation",
        variation=ProductVariation(id=strawberry.ID("OSS")),
        research=RESEARCH[:1],
    ),
    Product(
        id=strawberry.ID("apollo-studio"),
        sku="studio",
        package="",
        variation=ProductVariation(id=strawberry.ID("platform")),
        research=RESEARCH[1:],
    ),
]


@strawberry.type
class Query:
    @strawberry.field
    def product(self, info: Anything, id: strawberry.ID) -> Product | None:
        return Product.resolve_reference(info, id=id)

    @strawberry.field(deprecation_reason="Use product query instead")  # type: ignore[untyped-decorator]
    def deprecated_product(self, info: Anything, sku: str, package: str) -> DeprecatedProduct | None:
        return DeprecatedProduct.resolve_reference(info, sku, package)


SCHEMA = GraphSchema(Query, types=[User, Inventory, ProductResearch], config=StrawberryConfig(), limits=Limits())


@dataclass
class Context:
    """The context value of an operation, which says nothing here."""

    incremental: bool = False
    trace: bool = False
    lifetimes: Sequence[float | None] = ()


def products_view() -> GraphQLView:
    """The subgraph as an ASGI application."""
    return GraphQLView(Endpoint.of(SCHEMA, lambda request: Context(), HttpSettings()))
