// Written by ui/build.mjs; the page comes first.
[
    Asset::new("page.html", r#"W/"e130d3a5c733006a""#, "text/html; charset=utf-8", include_bytes!("page.html.gz")),
    Asset::new("graphiql-ba44906812c054db.js", r#"W/"ba44906812c054db""#, "text/javascript; charset=utf-8", include_bytes!("graphiql-ba44906812c054db.js.gz")),
    Asset::new("graphiql-e00ae1a12a2f54f8.css", r#"W/"e00ae1a12a2f54f8""#, "text/css; charset=utf-8", include_bytes!("graphiql-e00ae1a12a2f54f8.css.gz")),
    Asset::new("icon-753f29a84040d8b9.svg", r#"W/"753f29a84040d8b9""#, "image/svg+xml", include_bytes!("icon-753f29a84040d8b9.svg.gz")),
    Asset::new("licences-1d980ec83d07e657.txt", r#"W/"1d980ec83d07e657""#, "text/plain; charset=utf-8", include_bytes!("licences-1d980ec83d07e657.txt.gz")),
]
