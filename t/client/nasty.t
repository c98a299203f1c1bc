#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Nasty servers, at each stage: exactly the right recipients are sent, deferred, returned; one notice
# for those that are returned; nothing is there twice, nothing is lost.
use strict;
use warnings;
use Gatepost::Certs;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Script;
use Gatepost::Sink;
use Gatepost::TlsSink;
use Test::More;

# name => [script, recipients' local parts, what becomes of each (s d b), an expected text, flags]
my %case;
sub add { my ($name, $script, @row) = @_; die "twice: $name" if $case{$name}; $case{$name} = [$script, @row] }

my %later = (drop => 'lost connection', reset => 'lost connection|Connection reset', silent => 'timed out', garbage => 'no reply',
    endless => 'no reply', forever => 'no reply');
my @stages = qw(greeting ehlo mail rcpt data dot);
for my $stage (@stages) {
    for my $word (sort keys %later) {
        # Without the pipe, so that it is this stage that is met.
        my $keywords = $stage eq 'dot' && $word eq 'forever' ? ['CHUNKING'] : ['8BITMIME'];
        add("$stage-$word", { $stage => $word, keywords => $keywords }, 'a b', 'dd', $later{$word});
    }
    for my $word (qw(flood bare split)) { add("$stage-$word", { $stage => $word }, 'a b', 'ss') }
    add("$stage-450", { $stage => '450 4.3.9 not now' }, 'a b', 'dd', '4\.3\.9 not now');
    add("$stage-421", { $stage => '421 4.3.8 closing' }, 'a b', 'dd', '4\.3\.8 closing');
    my $hard = $stage =~ /greeting/ ? 'dd' : $stage eq 'ehlo' ? 'ss' : 'bb';
    add("$stage-550", { $stage => '550 5.3.9 never' }, 'a b', $hard, $hard eq 'ss' ? undef : '5\.3\.9 never');
    # A reply of the wrong class.
    add("$stage-354", { $stage => '354 what?' }, 'a b', $stage eq 'data' ? 'ss' : 'dd') if $stage ne 'data';
}
# A bare code, no text at all, a reply whose lines disagree, one that begins a line with blanks.
add('bare-codes', { map { $_ => '250' } qw(ehlo mail rcpt dot) }, 'a b', 'ss');
add('disagree', { rcpt => "550-5.1.1 no\n250 2.1.5 yes" }, 'a', 's');
add('blanks', { mail => "  250 ok" }, 'a', 'd');
add('status-lies', { rcpt => '250 5.1.1 what?' }, 'a', 's');
add('status-lies2', { rcpt => '550 2.1.5 what?' }, 'a', 'b');
add('control', { rcpt => "550 5.1.1 \x07bell\x1b[31m" }, 'a', 'b', '\?bell\?\[31m');
# Order is lost.
add('early-greeting', { greeting => 'early', keywords => [] }, 'a', 'd');
add('early-data', { data => 'early' }, 'a', 'd');
add('early-mail', { mail => 'early', keywords => [] }, 'a b c', 'ddd');
add('early-rcpt', { rcpt => 'early', keywords => [] }, 'a', 'd');
add('body-drop', { body => 'drop' }, 'a b', 'dd', 'while sending');
add('body-reset', { body => 'reset' }, 'a b', 'dd', 'while sending|reset');
add('body-552', { body => '552 5.3.4 too much' }, 'a', 'b', 'too much', 'large');
add('body-silent', { body => 'silent' }, 'a', 'd', 'timed out', 'large');
add('bdat-552', { bdat => '552 5.3.4 too much', keywords => [qw(PIPELINING CHUNKING)] }, 'a b', 'bb', 'BDAT command', 'large');
add('bdat-452', { bdat => '452 4.3.1 no room', keywords => [qw(CHUNKING)] }, 'a b', 'dd', 'BDAT command', 'large');
add('bdat-drop', { bdat => 'drop', keywords => [qw(PIPELINING CHUNKING)] }, 'a b', 'dd', 'while sending message body', 'large');
add('bdat-silent', { bdat => 'silent', keywords => [qw(PIPELINING CHUNKING)] }, 'a b', 'dd', 'timed out', 'large');
add('bdat-garbage', { bdat => 'garbage', keywords => [qw(CHUNKING)] }, 'a b', 'dd', 'no reply', 'large');
add('bdat-good', { keywords => [qw(PIPELINING CHUNKING)] }, 'a b', 'ss', undef, 'large');
add('bdat-step', { keywords => [qw(CHUNKING)] }, 'a b', 'ss', undef, 'large');
add('bdat-dot', { dot => '550 5.6.9 not this', keywords => [qw(PIPELINING CHUNKING)] }, 'a b', 'bb', 'end of DATA command');
add('bdat-dot-drop', { dot => 'drop', keywords => [qw(PIPELINING CHUNKING)] }, 'a b', 'dd', 'more than once');
# SIZE.
add('size-small', { keywords => ['SIZE 10'] }, 'a', 'b', 'exceeds size limit 10');
add('size-rubbish', { keywords => ['SIZE huge', 'SIZE -1', 'SIZE'] }, 'a', 's');
add('size-huge', { keywords => ['SIZE 99999999999999999999999999'] }, 'a', 's');
add('size-lies', { keywords => ['SIZE 100000000'], mail => '552 5.3.4 too large' }, 'a', 'b', 'too large');
add('size-at-dot', { keywords => ['SIZE 100000000'], dot => '552 5.3.4 too large' }, 'a', 'b', 'too large');
# Recipients of all kinds.
my $mixed = sub {
    my ($c, $to) = @_;
    return { t => '450 4.2.1 later', p => '550 5.1.1 unknown', f => '552 5.5.3 too many', w => '354 what?' }->{ substr $to, 0, 1 };
};
for my $way (['mixed-pipe', [qw(PIPELINING)]], ['mixed-step', []], ['mixed-chunks', [qw(PIPELINING CHUNKING)]]) {
    add($way->[0], { rcpt => $mixed, keywords => $way->[1] }, 'a t1 p1 b f1 p2 c w1', 'sdbsdbsd');
    add("$way->[0]-dot", { rcpt => $mixed, keywords => $way->[1], dot => '554 5.6.0 spam' }, 'a t1 p1 b', 'bdbb', 'spam');
    add("$way->[0]-later", { rcpt => $mixed, keywords => $way->[1], dot => '450 4.6.0 busy' }, 'a t1 p1 b', 'ddbd', 'busy');
    add("$way->[0]-none", { rcpt => $mixed, keywords => $way->[1] }, 't1 p1 p2', 'dbb');
}
add('mid-421', { rcpt => sub { $_[1] =~ /^x/ ? '421 4.4.9 bye' : undef } }, 'a x b', 'sds', 'bye');
add('mid-421-drop', { rcpt => sub { my ($c, $to) = @_; return if $to !~ /^x/; $c->say('421 4.4.9 bye'); 'drop' },
    keywords => ['8BITMIME'] }, 'a x b', 'ddd', 'bye|lost');
add('mail-refused-rcpt-taken', { mail => '550 5.7.1 not you', rcpt => '250 ok', data => '354 go' }, 'a b', 'bb', 'not you');
add('nobody-yet-354', { rcpt => '550 5.1.1 no', data => '354 go' }, 'a b', 'bb');
add('rset-refused', { rset => '500 what?', rcpt => $mixed }, 'a p1', 'sb');
add('quit-silent', { quit => 'silent' }, 'a', 's');
# LMTP: a reply for each.
my $full = sub { { d => '452 4.2.2 full', e => '552 5.2.2 too full' }->{ substr $_[1], 0, 1 } };
add('lmtp', { lmtp => 1, rcpt => $mixed, lmtpdot => $full }, 'a d1 e1 t1 p1 b', 'sdbdbs', undef, 'lmtp');
add('lmtp-chunks', { lmtp => 1, rcpt => $mixed, lmtpdot => $full, keywords => [qw(PIPELINING CHUNKING)] }, 'a d1 e1 t1 p1 b',
    'sdbdbs', undef, 'lmtp');
add('lmtp-drop', { lmtp => 1, lmtpdot => sub { $_[1] =~ /^x/ ? 'drop' : undef } }, 'a x b', 'sdd', 'more than once', 'lmtp');
add('lmtp-silent', { lmtp => 1, lmtpdot => sub { $_[1] =~ /^x/ ? 'silent' : undef } }, 'a x b', 'sdd', 'timed out', 'lmtp');
# Inside of TLS, which the client will not do without.
for my $stage (qw(ehlo mail rcpt data dot)) {
    my $hard = $stage eq 'ehlo' ? 'ss' : 'bb';
    for (['drop', 'dd', 'lost connection'], ['silent', 'dd', 'timed out'], ['garbage', 'dd', 'no reply'], ['450 4.3.9 not now', 'dd', 'not now'],
        ['421 4.3.8 closing', 'dd', 'closing'], ['550 5.3.9 never', $hard, $hard eq 'bb' ? 'never' : undef]) {
        my ($what, $results, $text) = @$_;
        add("tls-$stage-" . ($what =~ /^(\w+)/)[0], { $stage => $what }, 'a b', $results, $text, 'tls');
    }
}
sub is_tls { ($case{ $_[0] }[4] // '') eq 'tls' }

my $servers = Gatepost::Script->new(map { $_ => $case{$_}[0] } grep { !is_tls($_) } keys %case);
my $cert = Gatepost::Certs->new->make('mx', names => ['mx.test']);
my %inside = map { $_ => Gatepost::TlsSink->new(cert => $cert, keywords => ['8BITMIME'], on => $case{$_}[0]) } grep { is_tls($_) } keys %case;
sub at { my ($name) = @_; return $inside{$name} ? '[127.0.0.1]:' . $inside{$name}->port : $servers->at($name) }
sub took { my ($name) = @_; return $inside{$name} ? map { @{ $_->{tls} ? $_->{rcpts} : ['in clear text'] } } $inside{$name}->messages : $servers->took($name) }
sub log_of { my ($name) = @_; return $inside{$name} ? join '', $inside{$name}->sessions : $servers->log($name) }
my $home = Gatepost::Sink->new;
# Only where a server says nothing is the client impatient: on a busy machine others may be slow.
my $routes = join ', ', map {
    my $flag = $case{$_}[4] // '';
    my $transport = ($flag eq 'lmtp' || $flag eq 'tls' ? $flag : 'smtp') . (/(?:greeting|ehlo)-silent/ ? 'quick' : /lmtp-silent/ ? 'last' : /silent/ && !/quit/ ? 'then' : '');
    "{$_.test=$transport:" . at($_) . '}';
} sort keys %case;
sub limits {
    my ($seconds) = @_;
    return map { ("smtp_${_}_timeout" => $seconds, "lmtp_${_}_timeout" => $seconds) } qw(mail rcpt data_init data_xfer data_done rset);
}
my %then = limits('2s');
my $then = join ' ', map {"-o $_=$then{$_}"} sort keys %then;
my $quick = "$then -o smtp_helo_timeout=2s";
my $tls = '-o smtp_tls_security_level=encrypt';
my $gp = Gatepost::Instance->new(main => {
    limits('100s'), smtp_helo_timeout => '100s', lmtp_lhlo_timeout => '100s', transport_maps => "inline:{$routes}",
    relayhost => '[127.0.0.1]:' . $home->port, notify_classes => '', minimal_backoff_time => '600s', maximal_backoff_time => '600s',
    bounce_size_limit => 1000,
}, master => ["smtpquick unix - - n - - smtp-client $quick", "smtpthen unix - - n - - smtp-client $then", "lmtplast unix - - n - - smtp-client -l -o lmtp_data_done_timeout=6s",
    "tls unix - - n - - smtp-client $tls", "tlsquick unix - - n - - smtp-client $tls $quick", "tlsthen unix - - n - - smtp-client $tls $then"]);
$gp->start;
my $client = $gp->session;
my $large = "Subject: large\r\n\r\n" . ('x' x 70 . "\r\n") x 1400; # two chunks
my (%to, %want);
sub all_done {
    ok(wait_until(40, sub { keys %want <= grep { /, status=/ && !/home\.test/ } $gp->log_lines }), 'each recipient has its result');
}
# Those with TLS, which costs their servers most, when the others are done.
for my $name (sort { is_tls($a) <=> is_tls($b) || $a cmp $b } keys %case) {
    my (undef, $rcpts, $results, undef, $flag) = @{ $case{$name} };
    all_done() if is_tls($name) && !grep { is_tls($_) } keys %to;
    $to{$name} = [map {"$_\@$name.test"} split ' ', $rcpts];
    @want{ @{ $to{$name} } } = split //, $results;
    my $content = ($flag // '') eq 'large' ? $large : "Subject: $name\r\n\r\n.body\r\n";
    my $r = $client->mail("$name\@home.test", $to{$name}, $content);
    is($r->{code}, 250, "$name: taken") if $r->{code} != 250;
}

# Every recipient's line.
all_done();
my %word = (s => 'sent', d => 'deferred', b => 'bounced');
my %became;
for ($gp->log_lines(qr/, status=/)) {
    my ($to, $status, $text) = /to=<([^>]*)>.*, status=(\w+) \((.*)\)$/ or next;
    push @{ $became{$to} }, [$status, $text];
}
for my $name (sort keys %case) {
    my ($script, undef, undef, $text) = @{ $case{$name} };
    my @got = map { my $to = $_; join '+', map { $_->[0] } @{ $became{$to} // [] } } @{ $to{$name} };
    is_deeply(\@got, [map { $word{ $want{$_} } } @{ $to{$name} }], "$name: what the log says")
        or diag(map {"$_: " . join(' | ', map {"@$_"} @{ $became{$_} // [] }) . "\n"} @{ $to{$name} });
    my @sent = grep { $want{$_} eq 's' } @{ $to{$name} };
    is_deeply([sort(took($name))], [sort @sent], "$name: who has it, once") or diag(log_of($name));
    next if !defined $text;
    my @other = grep { $want{$_} ne 's' && $became{$_}[0][1] =~ /$text/ } @{ $to{$name} };
    ok(scalar @other, "$name: why") or diag(map {"$_->[1]\n"} map { @{ $became{$_} // [] } } @{ $to{$name} });
}

unlike($servers->log($_), qr/LAST/, "$_: the last chunk is held back") for qw(bdat-552 bdat-452 bdat-drop bdat-silent bdat-garbage);

# What waits, waits; what is returned is in one notice of its message.
my @bad = grep { grep { $want{$_} eq 'b' } @{ $to{$_} } } sort keys %case;
ok(wait_until(20, sub { scalar(@bad) <= $home->count }), 'a notice for each message with returned recipients');
my %waits = map { $_ => 1 } grep { $want{$_} eq 'd' } keys %want;
my %queued;
ok(wait_until(20, sub {
    my ($status, $out) = $gp->tool('gateq', 'list', '--json');
    %queued = map { $_ => 1 } $out =~ /"address": *"([^"]*)"/g;
    return join(' ', sort keys %queued) eq join ' ', sort keys %waits;
}), 'exactly those are queued that are to wait') or diag(join ' ', grep { !$queued{$_} != !$waits{$_} } sort keys %want);

# Behind one more, whose notice is the last: nothing is on its way any more.
is($client->mail('last@home.test', 'b@mail-550.test', "Subject: last\r\n\r\n")->{code}, 250, 'one more');
ok(wait_until(20, sub { grep { $_->{rcpts}[0] eq 'last@home.test' } $home->messages }), 'its notice');
ok(wait_until(20, sub { ($gp->tool('gateq', 'list', '--json'))[1] !~ /"address": *"[^"]*(?:home\.test|\Qb\E\@mail-550)/ }), 'no notice waits');
my %notice;
for my $m ($home->messages) {
    my $for = $m->{rcpts}[0] =~ s/\@home\.test$//r;
    push @{ $notice{$for} }, [sort $m->{content} =~ /^Final-Recipient: rfc822; *(\S+?)\r?$/mg];
}
is(scalar @{ delete $notice{last} // [] }, 1, 'one');
for my $name (@bad) {
    is_deeply($notice{$name}, [[sort grep { $want{$_} eq 'b' } @{ $to{$name} }]], "$name: one notice, of those alone");
}
is_deeply([sort keys %notice], \@bad, 'and no other');
ok(!$gp->log_lines(qr/panic|fatal|in doubt/), 'nothing broke');
done_testing;
